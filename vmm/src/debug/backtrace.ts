/** The callers of a stopped thread: by the rules of .eh_frame, and where those end by what looks like a return address. */
import { dwarf, type FrameRule } from './call-frames.js';
import type { Modules } from './modules.js';
import type { Registers, StoppedProcess } from './stopped-process.js';

export interface Frame {
  address: bigint;
  /** `function+0x12 (/path)` */
  where: string;
  /** Found by looking for return addresses on the stack: it may be one of a call that has long returned. */
  guessed: boolean;
}

const FRAMES_MAX = 64;
const SCAN_BYTES = 4096;
const GUESSES_MAX = 12;

/** By DWARF number. Registers that a callee need not keep are only good for the innermost frame, and no rule needs them. */
type Numbered = Map<number, bigint>;

const CALLEE_SAVED = [
  [dwarf.rbx, 'rbx'],
  [dwarf.rbp, 'rbp'],
  [dwarf.rsp, 'rsp'],
  [12, 'r12'],
  [13, 'r13'],
  [14, 'r14'],
  [15, 'r15'],
  [dwarf.rip, 'rip'],
] as const;

/** The frames of a thread, innermost first; at least one. */
export function backtrace(
  process: StoppedProcess,
  modules: Modules,
  registers: Registers,
): Frame[] {
  const frames: Frame[] = [];
  let current: Numbered = new Map(CALLEE_SAVED.map(([n, name]) => [n, registers[name]]));
  // A return address is behind its call, which may be the last instruction of its function: look one byte before it.
  let back = 0n;
  for (;;) {
    const rip = current.get(dwarf.rip) ?? 0n;
    const lookup = rip - back;
    frames.push(frameAt(process, modules, rip, lookup, false));
    const rule = modules.ruleAt(lookup, process.mappingAt(lookup));
    if (rule?.outermost || frames.length >= FRAMES_MAX) return frames;
    const interrupted = rule === undefined ? callerOfSignal(process, rip, current) : undefined;
    const caller =
      rule !== undefined
        ? callerByRule(process, rule, current)
        : (interrupted ?? (frames.length === 1 ? callerOfBadJump(process, current) : undefined));
    if (caller === undefined) return [...frames, ...scan(process, modules, current)];
    const next = caller.get(dwarf.rip) ?? 0n;
    const goesUp = (caller.get(dwarf.rsp) ?? 0n) > (current.get(dwarf.rsp) ?? 0n);
    if (next === 0n || (rule !== undefined && !goesUp)) return frames;
    back = interrupted === undefined ? 1n : 0n;
    current = caller;
  }
}

function frameAt(
  process: StoppedProcess,
  modules: Modules,
  address: bigint,
  lookup: bigint,
  guessed: boolean,
): Frame {
  const back = Number(address - lookup);
  return { address, where: modules.describe(lookup, process.mappingAt(lookup), back), guessed };
}

function word(process: StoppedProcess, address: bigint): bigint | undefined {
  return process.read(address, 8)?.readBigUInt64LE();
}

function callerByRule(
  process: StoppedProcess,
  rule: FrameRule,
  registers: Numbered,
): Numbered | undefined {
  const base = registers.get(rule.cfaRegister);
  if (base === undefined) return undefined;
  const cfa = base + BigInt(rule.cfaOffset);
  const caller: Numbered = new Map(registers).set(dwarf.rsp, cfa);
  caller.delete(dwarf.rip);
  for (const [register, offset] of rule.saved) {
    const value = word(process, cfa + BigInt(offset));
    if (value !== undefined) caller.set(register, value);
  }
  return caller.has(dwarf.rip) ? caller : undefined;
}

/** `mov $15,%rax; syscall`: rt_sigreturn, whose rules are expressions. The interrupted registers lie in the ucontext. */
const SIGRETURN = Buffer.from('48c7c00f0000000f05', 'hex');
const UCONTEXT_REGISTERS = 40n;
const IN_UCONTEXT = [
  [12, 4],
  [13, 5],
  [14, 6],
  [15, 7],
  [dwarf.rbp, 10],
  [dwarf.rbx, 11],
  [dwarf.rsp, 15],
  [dwarf.rip, 16],
] as const;

function callerOfSignal(
  process: StoppedProcess,
  rip: bigint,
  registers: Numbered,
): Numbered | undefined {
  if (process.read(rip, SIGRETURN.length)?.equals(SIGRETURN) !== true) return undefined;
  const base = (registers.get(dwarf.rsp) ?? 0n) + UCONTEXT_REGISTERS;
  const saved = process.read(base, 8 * 17);
  if (saved === undefined) return undefined;
  return new Map(IN_UCONTEXT.map(([n, slot]) => [n, saved.readBigUInt64LE(8 * slot)]));
}

/** A call through a bad pointer: where it led is no code, and its return address is on top of the stack. */
function callerOfBadJump(process: StoppedProcess, registers: Numbered): Numbered | undefined {
  const rip = registers.get(dwarf.rip) ?? 0n;
  const rsp = registers.get(dwarf.rsp) ?? 0n;
  if (process.mappingAt(rip)?.executable) return undefined;
  const from = word(process, rsp);
  if (from === undefined || !process.mappingAt(from)?.executable) return undefined;
  return new Map(registers).set(dwarf.rip, from).set(dwarf.rsp, rsp + 8n);
}

/** Words of the stack that lie in code behind a call. */
function scan(process: StoppedProcess, modules: Modules, registers: Numbered): Frame[] {
  const frames: Frame[] = [];
  const start = (registers.get(dwarf.rsp) ?? 0n) & ~7n;
  for (let at = start; at < start + BigInt(SCAN_BYTES) && frames.length < GUESSES_MAX; at += 8n) {
    const value = word(process, at);
    if (value === undefined) break;
    if (followsCall(process, value)) {
      frames.push(frameAt(process, modules, value, value - 1n, true));
    }
  }
  return frames;
}

function followsCall(process: StoppedProcess, address: bigint): boolean {
  if (!process.mappingAt(address)?.executable) return false;
  const code = process.read(address - 7n, 7);
  if (code === undefined) return false;
  if (code[2] === 0xe8) return true;
  // ff /2: a call through a register or memory, of 2, 3, 6 or 7 bytes
  return [5, 4, 1, 0].some((i) => code[i] === 0xff && ((code[i + 1] as number) & 0x38) === 0x10);
}
