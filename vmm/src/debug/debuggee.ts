/** A machine whose program stands still, as a debugger wants it: threads, memory, breakpoints, and how to go on. */
import type { Machine } from '../machine/machine.js';
import { writeFrame } from './gdb-registers.js';
import { type GuestThread, StoppedProcess } from './stopped-process.js';

const INT3 = 0xcc;
const BREAKPOINT = 3n;
const RFLAGS_TF = 0x100n;
const BREAKPOINTS_MAX = 10_000;

export class Debuggee {
  readonly #machine: Machine;
  #process: StoppedProcess;
  /** Address, and the byte that was there. */
  readonly #breakpoints = new Map<bigint, number>();

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#process = new StoppedProcess(machine.shared, machine.addressSpace);
  }

  get process(): StoppedProcess {
    return this.#process;
  }

  /** After each stop. Whether it was one of our breakpoints: then the thread is put back to before it. */
  refresh(): boolean {
    this.#process = new StoppedProcess(this.#machine.shared, this.#machine.addressSpace);
    if (this.#process.began !== undefined) this.#breakpoints.clear(); // they went with the memory
    const thread = this.#process.current;
    if (thread === undefined || thread.registers.vector !== BREAKPOINT) return false;
    const at = thread.registers.rip - 1n;
    if (!this.#breakpoints.has(at)) return false;
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(at);
    return writeFrame(this.#process.memory, thread, 'rip', bytes);
  }

  /** What is there; breakpoints do not show. Shorter than asked for where memory ends; undefined for nothing at all. */
  read(address: bigint, length: number): Buffer | undefined {
    const bytes = this.#process.read(address, length) ?? this.#readPages(address, length);
    for (const [at, original] of this.#breakpoints) {
      if (bytes !== undefined && at >= address && at < address + BigInt(bytes.length)) {
        bytes[Number(at - address)] = original;
      }
    }
    return bytes;
  }

  #readPages(address: bigint, length: number): Buffer | undefined {
    const parts: Buffer[] = [];
    for (let at = address, left = length; left > 0; ) {
      const part = Math.min(left, Number(0x1000n - (at % 0x1000n)));
      const bytes = this.#process.read(at, part);
      if (bytes === undefined) break;
      parts.push(bytes);
      at += BigInt(part);
      left -= part;
    }
    return parts.length === 0 ? undefined : Buffer.concat(parts);
  }

  /** Writes to the program's memory, whatever its protection. False, perhaps with a part written, where there is none. */
  write(address: bigint, bytes: Uint8Array): boolean {
    for (let done = 0; done < bytes.length; ) {
      const at = address + BigInt(done);
      const mapping = this.#process.mappingAt(at);
      if (mapping === undefined) return false;
      const part = bytes.subarray(done, done + Number(0x1000n - (at % 0x1000n)));
      if (!this.#writePage(at, part, !mapping.shared)) return false;
      done += part.length;
    }
    return true;
  }

  /**
   * A page of an image, or one that was never touched, is given a place in RAM by the guest kernel. Protection holds only
   * where others would see the write, in shared mappings.
   */
  #writePage(address: bigint, bytes: Uint8Array, force: boolean): boolean {
    const { memory } = this.#process;
    if (memory.write(address, bytes, force)) return true;
    this.#machine.shared.setField('debug_write', address);
    return this.#machine.enter().kind === 'stopped' && memory.write(address, bytes, force);
  }

  setBreakpoint(address: bigint): boolean {
    if (this.#breakpoints.has(address)) return true;
    const [original] = this.#process.read(address, 1) ?? [];
    if (original === undefined || this.#breakpoints.size >= BREAKPOINTS_MAX) return false;
    if (!this.write(address, Buffer.from([INT3]))) return false;
    this.#breakpoints.set(address, original);
    return true;
  }

  removeBreakpoint(address: bigint): boolean {
    const original = this.#breakpoints.get(address);
    if (original === undefined) return true;
    this.#breakpoints.delete(address);
    // What the program itself wrote there meanwhile is not undone.
    if (this.#process.read(address, 1)?.[0] !== INT3) return true;
    return this.write(address, Buffer.from([original]));
  }

  removeBreakpoints(): void {
    for (const address of [...this.#breakpoints.keys()]) this.removeBreakpoint(address);
  }

  thread(tid: number): GuestThread | undefined {
    return this.#process.threads.find((t) => t.tid === tid);
  }

  /** The thread executes one instruction when it runs next. */
  step(thread: GuestThread): void {
    const flags = Buffer.alloc(8);
    flags.writeBigUInt64LE(thread.registers.rflags | RFLAGS_TF);
    writeFrame(this.#process.memory, thread, 'rflags', flags);
  }

  /** What the program is given when it goes on: a signal, or 0; and the one thread that may run, or 0 for all. */
  prepare(signal: number, only: number): void {
    this.#machine.shared.setField('debug_signal', BigInt(signal));
    this.#machine.shared.setField('debug_only', BigInt(only));
  }
}
