/** What is told of a guest that ended badly: what happened, registers, and the backtrace of kernel and program. */
import type { KernelImage } from '../machine/kernel-image.js';
import type { Machine } from '../machine/machine.js';
import type { AddressSpace } from './address-space.js';
import { backtrace, type Frame } from './backtrace.js';
import { Modules } from './modules.js';
import { signalName } from './signal-names.js';
import { type Fault, frameRegisters, type GuestThread, StoppedProcess } from './stopped-process.js';

const SIGSEGV = 11;
const SIGBUS = 7;
const SEGV_MAPERR = 1;
const SEGV_ACCERR = 2;
const BUS_ADRERR = 2;
const KERNEL_FRAMES_MAX = 32;

const hex = (value: bigint) => `0x${value.toString(16)}`;

/** Several lines about a program that a signal killed. For exits that are `described`. */
export function crashReport(machine: Machine, signal: number): string {
  const process = new StoppedProcess(machine.shared, machine.addressSpace);
  const thread = process.current;
  if (thread === undefined) return `the program died of ${signalName(signal)}`;
  return [
    `${headline(process, thread, signal)}`,
    ...registerLines(thread.registers),
    ...programFrames(process, machine),
  ].join('\n');
}

/** One line about it by its wait status, for those who have little room. */
export function crashLine(machine: Machine, status: number): string {
  const signal = status & 0x7f;
  const process = new StoppedProcess(machine.shared, machine.addressSpace);
  const thread = process.current;
  if (thread === undefined) return signalName(signal);
  const { rip } = thread.registers;
  const where = new Modules(machine.images).describe(rip, process.mappingAt(rip));
  return `${headline(process, thread, signal)}, at ${hex(rip)} ${where}`;
}

/** Where the guest kernel gave up, and what the program was doing then. */
export function panicReport(machine: Machine): string {
  const { shared, kernel, addressSpace } = machine;
  const at = shared.field('panic_regs');
  const regs = at === 0n ? undefined : addressSpace.read(at, 8 * frameRegisters.length);
  if (regs === undefined) {
    const call = shared.field('panic_rip') - 1n;
    const addresses = kernelFrames(call, shared.field('panic_frame'), machine);
    return [...kernelLines(kernel, addresses), ...describedProgram(machine)].join('\n');
  }
  const named = Object.fromEntries(
    frameRegisters.map((name, i) => [name, regs.readBigUInt64LE(8 * i)]),
  ) as Record<string, bigint>;
  return [
    ...registerLines(named),
    ...kernelLines(kernel, kernelFrames(named.rip ?? 0n, named.rbp ?? 0n, machine)),
    ...describedProgram(machine),
  ].join('\n');
}

/** The vCPU's registers and the kernel's frames, when the machine itself failed. */
export function machineReport(machine: Machine, regs: Readonly<Record<string, bigint>>): string {
  const addresses = kernelFrames(regs.rip ?? 0n, regs.rbp ?? 0n, machine);
  return [...registerLines(regs), ...kernelLines(machine.kernel, addresses)].join('\n');
}

function headline(process: StoppedProcess, thread: GuestThread, signal: number): string {
  const others = process.threads.length > 1 ? `, one of ${process.threads.length} threads` : '';
  return `${thread.name}[${thread.tid}]${others} died of ${signalName(signal)}${reason(process, signal)}`;
}

/** What a page fault was about. The error code is the processor's (Intel SDM vol. 3, 4.7). */
function reason(process: StoppedProcess, signal: number): string {
  const { fault } = process;
  const why = fault === undefined ? undefined : causeOf(process, fault, signal);
  if (fault === undefined || why === undefined) return '';
  const { address, error } = fault;
  const access = (error & 16n) !== 0n ? 'jump to' : (error & 2n) !== 0n ? 'write to' : 'read of';
  return `: ${access} ${hex(address)}, which ${why}`;
}

/** By si_code (sigaction(2)); only those of a page fault come with its address. */
function causeOf(process: StoppedProcess, fault: Fault, signal: number): string | undefined {
  const mapping = process.mappingAt(fault.address);
  if (signal === SIGBUS && fault.code === BUS_ADRERR) {
    return `lies beyond the end of ${mapping?.path || 'what is mapped there'}`;
  }
  if (signal !== SIGSEGV) return undefined;
  if (fault.code === SEGV_MAPERR) return 'is not mapped';
  if (fault.code !== SEGV_ACCERR) return undefined;
  return `is not allowed${mapping === undefined ? '' : ` (mapped ${protectionOf(mapping)})`}`;
}

function protectionOf(mapping: { readable: boolean; writable: boolean; executable: boolean }) {
  const { readable, writable, executable } = mapping;
  return `${readable ? 'r' : '-'}${writable ? 'w' : '-'}${executable ? 'x' : '-'}`;
}

const SHOWN = [
  ...['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'],
  ...['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip', 'rflags', 'fsBase', 'gsBase'],
];

function registerLines(registers: Readonly<Record<string, bigint>>): string[] {
  const cells = SHOWN.filter((name) => registers[name] !== undefined).map(
    (name) => `${name.padEnd(6)} ${(registers[name] ?? 0n).toString(16).padStart(16, '0')}`,
  );
  const lines: string[] = [];
  for (let i = 0; i < cells.length; i += 4) lines.push(`  ${cells.slice(i, i + 4).join('  ')}`);
  return lines;
}

/** The kernel is built with frame pointers. Of callers it is the call, as the return address may be behind the function's end. */
function kernelFrames(rip: bigint, frame: bigint, machine: Machine): bigint[] {
  const { kernelStart, kernelEnd } = machine.shared;
  const memory: AddressSpace = machine.addressSpace;
  const addresses = [rip];
  for (let at = frame; addresses.length < KERNEL_FRAMES_MAX; ) {
    const back = memory.u64(at + 8n);
    const next = memory.u64(at);
    if (back === undefined || back < kernelStart || back >= kernelEnd) break;
    addresses.push(back - 1n);
    if (next === undefined || next <= at) break;
    at = next;
  }
  return addresses;
}

function kernelLines(kernel: KernelImage | undefined, addresses: readonly bigint[]): string[] {
  const named = (address: bigint) => kernel?.describe(address) ?? hex(address);
  return addresses.map((address) => `  at ${named(address)} (guest kernel)`);
}

/** A panic describes the program if it still can. */
function describedProgram(machine: Machine): string[] {
  const process = new StoppedProcess(machine.shared, machine.addressSpace);
  return process.current === undefined ? [] : programFrames(process, machine);
}

function programFrames(process: StoppedProcess, machine: Machine): string[] {
  if (process.current === undefined) return [];
  const modules = new Modules(machine.images);
  return backtrace(process, modules, process.current.registers).map(frameLine);
}

function frameLine(frame: Frame): string {
  const guess = frame.guessed ? ' (perhaps: found on the stack)' : '';
  return `  at 0x${frame.address.toString(16)} ${frame.where}${guess}`;
}
