/**
 * A program that stands still, as its guest kernel describes it in the shared page (docs/guest-abi.md). All of it may be
 * wrong: numbers are bounded, addresses are looked up in the guest's own page tables, and what is missing is left out.
 */
import { abi } from '@mayfly/protocol';
import type { SharedPage } from '../machine/shared-page.js';
import type { AddressSpace } from './address-space.js';

/** struct regs in firmware/include/sched.h. */
export const frameRegisters = [
  'r15',
  'r14',
  'r13',
  'r12',
  'rbp',
  'rbx',
  'r11',
  'r10',
  'r9',
  'r8',
  'rax',
  'rcx',
  'rdx',
  'rsi',
  'rdi',
  'vector',
  'error',
  'rip',
  'cs',
  'rflags',
  'rsp',
  'ss',
] as const;
export type FrameRegister = (typeof frameRegisters)[number];
/** `origRax` is the number of the system call that is under way, or -1. */
export type Registers = Record<FrameRegister | 'fsBase' | 'gsBase' | 'origRax', bigint>;

export interface GuestThread {
  tid: number;
  name: string;
  registers: Registers;
  /** Vector state in the standard XSAVE format; empty when there is none. */
  xsave: Buffer;
  /** Where the guest kernel keeps them, for those who change them. */
  at: { regs: bigint; xsave: bigint; fsBase: bigint; gsBase: bigint };
}

/** Why a signal killed the program. */
export interface Fault {
  /** si_code (sigaction(2)): above 0 when it was the processor or the kernel, not another process. */
  code: number;
  /** si_addr, when the signal is a fault that has one. */
  address: bigint;
  /** The processor's error code. */
  error: bigint;
}

export interface Mapping {
  start: bigint;
  end: bigint;
  readable: boolean;
  writable: boolean;
  executable: boolean;
  shared: boolean;
  /** Of `start` in the file, in bytes. */
  offset: bigint;
  /** '' for anonymous memory. */
  path: string;
}

const THREADS_MAX = 4096;
const MAPS_BYTES_MAX = 16 << 20;
const XSAVE_BYTES_MAX = 16384;
const AUXV_ENTRIES_MAX = 64;
const TRAMPOLINE_BYTES = 32;
const PATH_MAX = 4096;
const MAX_MAPPING_BYTES = 1n << 46n;
const MINUS_ONE = 0xffff_ffff_ffff_ffffn;
/** Of struct regs: a system call that came in by a patched site or by its instruction; nothing that can begin again. */
export const vectors = { patchedCall: 256n, call: 257n, none: 259n } as const;
const { debugThread, DEBUG_THREAD_SIZE } = abi;

export class StoppedProcess {
  readonly memory: AddressSpace;
  readonly threads: readonly GuestThread[];
  readonly mappings: readonly Mapping[];
  /** The thread that the stop is about: one of `threads`, unless there is none. */
  readonly current: GuestThread | undefined;
  /** Of a program that a fault killed. */
  readonly fault: Fault | undefined;
  readonly auxv: Buffer;
  /** Path of the program that has just taken the place of another one; undefined at every other stop. */
  readonly began: string | undefined;
  readonly #shared: SharedPage;

  constructor(shared: SharedPage, memory: AddressSpace) {
    this.#shared = shared;
    this.memory = memory;
    this.threads = this.#readThreads();
    this.mappings = this.#readMappings();
    this.fault = this.#readFault();
    this.auxv = this.#readAuxv();
    this.began = this.#readBegan();
    const tid = Number(shared.field('debug_tid'));
    this.current = this.threads.find((t) => t.tid === tid) ?? this.threads[0];
  }

  /**
   * The program's memory; bytes that are mapped and were never touched are zero. Undefined when any is not mapped, or
   * is of a shared file mapping and was never touched.
   */
  read(address: bigint, length: number): Buffer | undefined {
    const out = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const at = address + BigInt(done);
      const page = this.memory.pageAt(at);
      if (page === undefined && !isZero(this.mappingAt(at))) return undefined;
      const part = Math.min(length - done, page?.length ?? Number(0x1000n - (at % 0x1000n)));
      if (page !== undefined) out.set(page.subarray(0, part), done);
      done += part;
    }
    return out;
  }

  mappingAt(address: bigint): Mapping | undefined {
    let low = 0;
    let high = this.mappings.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.mappings[middle] as Mapping).end > address) high = middle;
      else low = middle + 1;
    }
    const found = this.mappings[low];
    return found !== undefined && found.start <= address ? found : undefined;
  }

  #readFault(): Fault | undefined {
    const code = Number(BigInt.asIntN(32, this.#shared.field('debug_code')));
    const [address, error] = [this.#shared.field('debug_fault'), this.#shared.field('debug_error')];
    return code > 0 ? { code, address, error } : undefined;
  }

  #readThreads(): GuestThread[] {
    const count = Math.min(Number(this.#shared.field('debug_thread_count')), THREADS_MAX);
    const table = this.memory.read(this.#shared.field('debug_threads'), count * DEBUG_THREAD_SIZE);
    const threads: GuestThread[] = [];
    for (let at = 0; table !== undefined && at < table.length; at += DEBUG_THREAD_SIZE) {
      const thread = this.#readThread(table.subarray(at, at + DEBUG_THREAD_SIZE));
      if (thread !== undefined) threads.push(thread);
    }
    return threads;
  }

  #readThread(row: Buffer): GuestThread | undefined {
    const at = {
      regs: row.readBigUInt64LE(debugThread.regs),
      xsave: row.readBigUInt64LE(debugThread.xsave),
      fsBase: row.readBigUInt64LE(debugThread.fs_base),
      gsBase: row.readBigUInt64LE(debugThread.gs_base),
    };
    const regs = this.memory.read(at.regs, 8 * frameRegisters.length);
    if (regs === undefined) return undefined;
    const registers = Object.fromEntries(
      frameRegisters.map((name, i) => [name, regs.readBigUInt64LE(8 * i)]),
    ) as Registers;
    registers.fsBase = this.memory.u64(at.fsBase) ?? 0n;
    registers.gsBase = this.memory.u64(at.gsBase) ?? 0n;
    const calls: bigint[] = [vectors.patchedCall, vectors.call];
    registers.origRax = calls.includes(registers.vector) ? registers.error : MINUS_ONE;
    registers.rip = this.#programAddress(registers.rip);
    const name = row.subarray(debugThread.name, debugThread.name + 16);
    const end = name.indexOf(0);
    return {
      tid: Number(BigInt.asUintN(31, row.readBigUInt64LE(debugThread.tid))),
      name: name.toString('utf8', 0, end < 0 ? 16 : end),
      registers,
      xsave: this.#readXsave(at.xsave),
      at,
    };
  }

  #readXsave(at: bigint): Buffer {
    const size = Number(this.#shared.field('debug_xsave_size'));
    if (size < 576 || size > XSAVE_BYTES_MAX) return Buffer.alloc(0);
    return this.memory.read(at, size) ?? Buffer.alloc(0);
  }

  /**
   * A call from a patched site may return into its trampoline, which has the instructions behind the site and jumps back
   * (patch_behind in firmware/arch/patch.c). For everybody else the thread is at the place that they were moved from.
   */
  #programAddress(rip: bigint): bigint {
    const { kernelStart, kernelEnd } = this.#shared;
    if (rip < kernelStart || rip >= kernelEnd) return rip;
    const start = rip - (rip % BigInt(TRAMPOLINE_BYTES));
    const code = this.memory.read(start, TRAMPOLINE_BYTES);
    if (code === undefined || code[0] !== 0xb9) return rip;
    for (let back = 13; back <= TRAMPOLINE_BYTES - 5; back++) {
      if (code[back] !== 0xe9) continue;
      const moved = BigInt(5 + code.readInt32LE(back + 1));
      const site = start + 10n + moved - 2n;
      if (this.#jumpsTo(site, start)) return rip - start < 10n ? site : rip + moved;
    }
    return rip;
  }

  #jumpsTo(address: bigint, target: bigint): boolean {
    const jump = this.memory.read(address, 5);
    if (jump === undefined || jump[0] !== 0xe9) return false;
    return address + 5n + BigInt(jump.readInt32LE(1)) === target;
  }

  #readAuxv(): Buffer {
    const start = this.#shared.field('debug_auxv');
    const entries: Buffer[] = [];
    while (start !== 0n && entries.length < AUXV_ENTRIES_MAX) {
      const entry = this.memory.read(start + BigInt(16 * entries.length), 16);
      if (entry === undefined) break;
      entries.push(entry);
      if (entry.readBigUInt64LE(0) === 0n) break;
    }
    return Buffer.concat(entries);
  }

  #readBegan(): string | undefined {
    const at = this.#shared.field('debug_exec');
    const bytes = at === 0n ? undefined : this.read(at, PATH_MAX);
    const end = bytes?.indexOf(0) ?? -1;
    return end > 0 ? bytes?.toString('utf8', 0, end) : undefined;
  }

  #readMappings(): Mapping[] {
    const size = Number(this.#shared.field('debug_maps_size'));
    if (size > MAPS_BYTES_MAX) return [];
    const text = this.memory.read(this.#shared.field('debug_maps'), size);
    return text === undefined ? [] : parseMaps(text.toString('utf8'));
  }
}

/** What is not in the page tables has never been touched; the bytes of a file are shown then. */
function isZero(mapping: Mapping | undefined): boolean {
  return mapping !== undefined && !(mapping.shared && mapping.path !== '');
}

const MAPS_LINE =
  /^([0-9a-f]{1,12})-([0-9a-f]{1,12}) ([r-])([w-])([x-])([ps]) ([0-9a-f]{1,16}) \S+ \d+ *(.*)$/;

/** Mappings from the text of /proc/PID/maps, in order; lines that make no sense are left out. */
export function parseMaps(text: string): Mapping[] {
  const mappings: Mapping[] = [];
  let last = 0n;
  for (const line of text.split('\n')) {
    const [, start, end, r, w, x, s, offset, path] = MAPS_LINE.exec(line) ?? [];
    if (path === undefined) continue;
    const mapping = {
      start: BigInt(`0x${start}`),
      end: BigInt(`0x${end}`),
      readable: r === 'r',
      writable: w === 'w',
      executable: x === 'x',
      shared: s === 's',
      offset: BigInt(`0x${offset}`),
      path: path.startsWith('[') ? '' : path,
    };
    if (mapping.start < last || mapping.end <= mapping.start) continue;
    if (mapping.end - mapping.start > MAX_MAPPING_BYTES) continue;
    last = mapping.end;
    mappings.push(mapping);
  }
  return mappings;
}
