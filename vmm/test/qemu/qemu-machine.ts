/**
 * Runs a Linux program on the guest kernel under QEMU's software emulation: a processor with the real rules of CPL 0
 * and 3, and devices that are not ours.
 *
 * ```
 *   vmm/src/machine/boot.ts ─► RAM file ◄─ page tables for the monitor, the clock
 *                                │
 *   rom.S at the reset vector ─► monitor.c at CPL 0 ─► guest kernel at CPL 3
 * ```
 * The RAM file is shared with QEMU: what the monitor and the guest kernel left in it is read when QEMU has ended.
 */
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ImageStore, treeFromPrograms } from '@mayfly/image';
import { abi } from '@mayfly/protocol';
import { SREGS_SIZE, sregsView } from '../../src/kvm/index.js';
import { writeBootMemory } from '../../src/machine/boot.js';
import { KernelImage } from '../../src/machine/kernel-image.js';
import { SharedPage } from '../../src/machine/shared-page.js';
import {
  INITIAL_RFLAGS,
  SYSTEM_CALL_MSRS,
  writeInitialSregs,
  XCR0_CANDIDATES,
} from '../../src/machine/vcpu-state.js';
import { ENV, imageDir, type Outcome, scratch } from '../machine/guest.js';

const { layout, boot, shared } = abi;
const sources = fileURLToPath(new URL('../../../test/qemu/', import.meta.url));
const firmware = fileURLToPath(new URL('../../../../firmware/', import.meta.url));

export const QEMU = 'qemu-system-x86_64';
const RAM_BYTES = 256 << 20;
const BLOCK = 0x200000;

/** The numbers of parameters.h. */
const numbers = Object.fromEntries(
  [...readFileSync(join(sources, 'parameters.h'), 'utf8').matchAll(/^#define (\w+) (\w+)$/gm)].map(
    ([, name, value]) => [name, Number(value)],
  ),
);
function number(name: string): number {
  const value = numbers[name];
  if (value === undefined) throw new Error(`parameters.h has no ${name}`);
  return value;
}
const MONITOR_GPA = number('MONITOR_GPA');
const MONITOR_VA = number('MONITOR_VA');

/**
 * QEMU's transports begin at 0xfeb00000 and lie 0x200 bytes apart; every eighth begins a page, as ours do. This is the
 * page of the guest's device `slot`, and which transport of QEMU has it.
 */
const mmioPage = (slot: number) => 0xfeb00000 + 0x1000 * slot;
const transport = (slot: number) => `virtio-mmio-bus.${8 * slot}`;
const DEVICES = 2;

/** QEMU puts RAM beyond the first 3 GiB at 4 GiB; the file has no such gap. */
const fileOffset = (gpa: number) => (gpa < 0xc0000000 ? gpa : gpa - 0x40000000);

function tool(command: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}\n${stderr}`);
}

const FREESTANDING = [
  ...'-std=gnu17 -O1 -Wall -Werror -ffreestanding -nostdlib -static -fno-pic -mcmodel=kernel'.split(
    ' ',
  ),
  ...'-mno-red-zone -mgeneral-regs-only -fno-stack-protector -fcf-protection=none'.split(' '),
  ...['-Wl,--build-id=none', '-Wl,-z,noexecstack', `-I${firmware}build`, `-I${firmware}include`],
];

/** Compiles and links at `address`; returns the bare bytes. */
function flatBinary(name: string, files: readonly string[], address: string): Buffer {
  const elf = join(scratch, `${name}.elf`);
  const binary = join(scratch, `${name}.bin`);
  const paths = files.map((file) => join(sources, file));
  tool('gcc', [...FREESTANDING, `-Wl,-Ttext=${address}`, '-Wl,-e0', '-o', elf, ...paths]);
  const sections = ['.text', '.rodata', '.data'].flatMap((s) => ['-j', s]);
  tool('objcopy', ['-O', 'binary', ...sections, elf, binary]);
  return readFileSync(binary);
}

let built: { romPath: string; monitor: Buffer } | undefined;

function build(): { romPath: string; monitor: Buffer } {
  if (built !== undefined) return built;
  flatBinary('rom', ['rom.S'], '0xffff0000');
  const entry = MONITOR_VA_TEXT + number('MONITOR_ENTRY').toString(16).padStart(8, '0').slice(-4);
  const monitor = flatBinary('monitor', ['monitor_entry.S', 'monitor.c'], entry);
  built = { romPath: join(scratch, 'rom.bin'), monitor };
  return built;
}
const MONITOR_VA_TEXT = '0xffffffff8000';

/** Adds entries to the page tables that boot.ts wrote. */
class ExtraMappings {
  readonly #view: DataView;
  #next: number;

  constructor(ram: ArrayBuffer) {
    this.#view = new DataView(ram);
    this.#next = Number(this.#view.getBigUint64(layout.BOOT_GPA + boot.pt_next, true));
  }

  /** Maps the 2 MiB (shift 21) or 4 KiB (shift 12) at `va`; `flags` are those of the last entry. */
  add(va: number, gpa: number, shift: 12 | 21, flags: bigint): void {
    let table: number = layout.PT_GPA;
    for (let level = 39; level > shift; level -= 9) table = this.#below(table, va, level);
    this.#view.setBigUint64(this.#slot(table, va, shift), BigInt(gpa) | flags, true);
    this.#view.setBigUint64(layout.BOOT_GPA + boot.pt_next, BigInt(this.#next), true);
  }

  #slot(table: number, va: number, shift: number): number {
    return table + 8 * (Math.floor(va / 2 ** shift) % 512);
  }

  #below(table: number, va: number, shift: number): number {
    const slot = this.#slot(table, va, shift);
    const entry = this.#view.getBigUint64(slot, true);
    const isLeaf = (entry & LARGE) !== 0n;
    if (entry !== 0n && !isLeaf) return Number(entry & 0xffffffffff000n);
    const page = this.#next;
    this.#next += 0x1000;
    this.#view.setBigUint64(slot, BigInt(page) | USER_TABLE, true);
    return page;
  }
}
const LARGE = 0x80n;
const USER_TABLE = 0x67n;
const USER_PAGE = 0x67n;
/** Present, writable, accessed, dirty, large; CPL 3 has no access. */
const SUPERVISOR_BLOCK = 0xe3n;

function writeMappings(ram: ArrayBuffer): void {
  const mappings = new ExtraMappings(ram);
  mappings.add(MONITOR_VA, MONITOR_GPA, 21, SUPERVISOR_BLOCK);
  mappings.add(0xffe00000, 0xffe00000, 21, SUPERVISOR_BLOCK); // the ROM, for the step into long mode
  mappings.add(0xfee00000, 0xfee00000, 21, SUPERVISOR_BLOCK); // the timer
  for (let slot = 0; slot < DEVICES; slot++) {
    mappings.add(layout.MMIO_VA + slot * layout.MMIO_STRIDE, mmioPage(slot), 12, USER_PAGE);
  }
}

/** With -icount the TSC counts nanoseconds from 0. Entropy stays empty: the guest must ask the device. */
function writeSharedPage(ram: ArrayBuffer): void {
  const view = new DataView(ram, layout.SHARED_GPA);
  const put = (offset: number, value: bigint) => view.setBigUint64(offset, value, true);
  put(shared.tsc_mult, 1n);
  put(shared.mono_base, process.hrtime.bigint());
  put(shared.wall_base, BigInt(Date.now()) * 1_000_000n);
  put(shared.generation, 1n);
  put(shared.pid, 4242n);
}

function parameterBlock(kernel: KernelImage): Buffer {
  const block = Buffer.alloc(number('MONITOR_ENTRY'));
  const put = (name: string, value: bigint | number) =>
    block.writeBigUint64LE(BigInt(value), number(`PARAMETER_${name}`));
  const sregsBytes = new ArrayBuffer(SREGS_SIZE);
  writeInitialSregs(sregsBytes);
  const sregs = sregsView(sregsBytes);
  put('CR0', sregs.cr0);
  put('CR3', sregs.cr3);
  put('CR4', sregs.cr4);
  put('EFER', sregs.efer);
  put('RIP', kernel.entry);
  put('RFLAGS', INITIAL_RFLAGS);
  put('CS', sregs.cs.selector);
  put('SS', sregs.ss.selector);
  put('TR', sregs.tr.selector);
  put('GDT_BASE', sregs.gdt.base);
  put('GDT_LIMIT', sregs.gdt.limit);
  put('IDT_BASE', sregs.idt.base);
  put('XCR0', XCR0_CANDIDATES[0] ?? 3n);
  put('PROTECTION_STUB', layout.EXCEPTION_STUBS_VA + 16 * 13);
  put('MSR_COUNT', SYSTEM_CALL_MSRS.length);
  for (const [i, [index, value]] of SYSTEM_CALL_MSRS.entries()) {
    block.writeBigUint64LE(BigInt(index), number('PARAMETER_MSRS') + 16 * i);
    block.writeBigUint64LE(value, number('PARAMETER_MSRS') + 16 * i + 8);
  }
  return block;
}

const ZEROS = Buffer.alloc(BLOCK);

/** Writes the RAM file: sparse, as long as images lie high. */
function writeRam(path: string, program: string, args: readonly string[], image: Buffer): number {
  const kernel = KernelImage.default();
  const ram = new ArrayBuffer(RAM_BYTES);
  writeBootMemory(ram, kernel, {
    program,
    argv: [program, ...args],
    env: ENV,
    cwd: '/',
    hostname: 'mayfly',
    imageSizes: [Math.ceil(image.length / BLOCK) * BLOCK],
    deviceCount: DEVICES,
    strace: false,
    verbose: false,
    debug: false,
  });
  writeMappings(ram);
  writeSharedPage(ram);
  const end = Math.ceil((layout.IMAGE_GPA + image.length) / 2 ** 30) * 2 ** 30;
  const fd = openSync(path, 'w');
  try {
    ftruncateSync(fd, fileOffset(end));
    for (let at = 0; at < RAM_BYTES; at += BLOCK) {
      const piece = Buffer.from(ram, at, BLOCK);
      if (!piece.equals(ZEROS)) writeSync(fd, piece, 0, BLOCK, fileOffset(at));
    }
    writeSync(fd, parameterBlock(kernel), 0, undefined, MONITOR_GPA);
    writeSync(fd, build().monitor, 0, undefined, MONITOR_GPA + number('MONITOR_ENTRY'));
    writeSync(fd, image, 0, undefined, fileOffset(layout.IMAGE_GPA));
  } finally {
    closeSync(fd);
  }
  return fileOffset(end);
}

function qemuArguments(ramPath: string, ramBytes: number, out: string, err: string): string[] {
  return [
    ...['-machine', 'microvm,ioapic2=on,pit=off,pic=off,rtc=off,isa-serial=off,memory-backend=ram'],
    ...['-accel', 'tcg', '-icount', 'shift=3'],
    ...[
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-no-reboot',
      '-bios',
      build().romPath,
    ],
    ...['-m', `${ramBytes / 2 ** 20}M`],
    ...['-object', `memory-backend-file,id=ram,share=on,mem-path=${ramPath},size=${ramBytes}`],
    ...['-global', 'virtio-mmio.force-legacy=false'],
    ...['-device', `virtio-serial-device,bus=${transport(0)},max_ports=2`],
    ...['-chardev', `file,id=out,path=${out}`, '-device', 'virtconsole,chardev=out,nr=0'],
    ...['-chardev', `file,id=err,path=${err}`, '-device', 'virtconsole,chardev=err,nr=1'],
    ...[
      '-object',
      'rng-builtin,id=rng',
      '-device',
      `virtio-rng-device,rng=rng,bus=${transport(1)}`,
    ],
    ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
  ];
}

/** Its own messages, when it has ended. */
function qemu(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(QEMU, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: TIMEOUT_MS });
    const messages: Buffer[] = [];
    child.stderr.on('data', (chunk: Buffer) => messages.push(chunk));
    child.on('error', reject);
    child.on('close', (_code, signal) =>
      resolve(Buffer.concat(messages).toString() + (signal === null ? '' : `ended by ${signal}`)),
    );
  });
}

/** The wait status that the program left; throws with what is known when there is none. */
function waitStatus(ramPath: string, messages: string): number {
  const fd = openSync(ramPath, 'r');
  const low = Buffer.alloc(0x10000);
  const monitor = Buffer.alloc(0x1000);
  readSync(fd, low, 0, low.length, 0);
  readSync(fd, monitor, 0, monitor.length, MONITOR_GPA);
  closeSync(fd);
  const kind = Number(monitor.readBigUint64LE(number('RESULT_KIND')));
  const value = monitor.readBigUint64LE(number('RESULT_VALUE'));
  if (kind === number('KIND_EXIT')) return Number(value) & 0xffff;
  const page = new SharedPage(new Uint8Array(low).buffer);
  if (kind === number('KIND_PANIC')) {
    const where = KernelImage.default().describe(page.field('panic_rip') - 1n);
    throw new Error(`the guest kernel panicked: ${page.panicMessage}, in ${where}`);
  }
  const failures: Record<number, string> = {
    0: 'QEMU ended without a result',
    [number('KIND_MONITOR_FAULT')]: `the monitor faulted at 0x${value.toString(16)}`,
    [number('KIND_UNKNOWN_PORT')]: `the guest wrote to port 0x${value.toString(16)}`,
  };
  throw new Error(`${failures[kind]}\n${messages}`);
}

const TIMEOUT_MS = 60_000;

/** What the program does on QEMU's processor; `cpu` is one of its models. */
export async function runInQemu(
  program: string,
  args: readonly string[] = [],
  cpu = 'max',
): Promise<Outcome> {
  const store = await ImageStore.open(imageDir);
  const image = await store.build(await treeFromPrograms([{ path: program }]));
  const ramPath = join(scratch, 'qemu-ram');
  const [out, err] = [join(scratch, 'qemu-stdout'), join(scratch, 'qemu-stderr')];
  const ramBytes = writeRam(ramPath, program, args, readFileSync(image.path));
  const messages = await qemu([...qemuArguments(ramPath, ramBytes, out, err), '-cpu', cpu]);
  const status = waitStatus(ramPath, messages);
  const signal = status & 0x7f;
  return {
    exitCode: signal === 0 ? (status >> 8) & 0xff : 128 + signal,
    stdout: readFileSync(out, 'utf8'),
    stderr: readFileSync(err, 'utf8'),
  };
}
