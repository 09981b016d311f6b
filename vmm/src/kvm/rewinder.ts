import { KvmError } from './errors.js';
import type { GuestMemory } from './guest-memory.js';
import { native, type RewinderHandle } from './native.js';
import { REGS_SIZE, SREGS_SIZE } from './registers.js';
import type { Vcpu } from './vcpu.js';

export interface RewinderOptions {
  /** The clone's memory: GuestMemory.privateFile(). */
  readonly memory: GuestMemory;
  /** The same file's bytes at the same offsets, never written: GuestMemory.readonlyFile(). */
  readonly template: GuestMemory;
  /** Left out: only memory is put back. */
  readonly vcpu?: Vcpu;
  /** struct kvm_regs and struct kvm_sregs to resume with; copied. */
  readonly regs?: ArrayBuffer;
  readonly sregs?: ArrayBuffer;
  /** Byte ranges that rewind leaves alone, sorted and disjoint. */
  readonly exclude?: readonly ByteRange[];
  /** Byte ranges that nobody may write, sorted and disjoint: every rewind() after such a write is -1. */
  readonly guard?: readonly ByteRange[];
  /** Pages that one rewind copies at most: rewind() is -1 when there are more. Default: all. */
  readonly pagesMax?: number;
  /**
   * The next run() flushes the guest's TLB: for page tables that are put back. CR4.PGE is then the template's in every
   * other run only. Default: false.
   */
  readonly flush?: boolean;
}

export type ByteRange = readonly [offset: number, length: number];

function encodeRanges(name: string, ranges: readonly ByteRange[]): ArrayBuffer {
  const numbers = ranges.flat();
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0)) {
    throw new KvmError('MAYFLY_KVM_ARGUMENT', `${name} must hold pairs of non-negative integers`);
  }
  return BigUint64Array.from(numbers, BigInt).buffer;
}

/**
 * Puts a used clone back to its template, in place: copies the template's bytes over the pages that the guest (or the
 * VMM) wrote, and has the next entry load the template's registers. An I/O instruction that is still under way is
 * completed first, so it cannot leak into the next run. What else a vCPU holds (vector state, MSRs) is up to the guest's
 * resume stub.
 */
export class Rewinder {
  readonly #handle: RewinderHandle;
  /** Keeps the vCPU from being collected. */
  readonly vcpu: Vcpu | undefined;

  private constructor(handle: RewinderHandle, vcpu: Vcpu | undefined) {
    this.#handle = handle;
    this.vcpu = vcpu;
  }

  static create(options: RewinderOptions): Rewinder {
    const { memory, template, vcpu, exclude = [], guard = [] } = options;
    const { regs = new ArrayBuffer(REGS_SIZE), sregs = new ArrayBuffer(SREGS_SIZE) } = options;
    const { pagesMax = Number.MAX_SAFE_INTEGER, flush = false } = options;
    const handle = native.rewinderCreate(
      memory.handle,
      template.handle,
      vcpu?.handle ?? null,
      regs,
      sregs,
      encodeRanges('exclude', exclude),
      encodeRanges('guard', guard),
      pagesMax,
      flush,
    );
    return new Rewinder(handle, vcpu);
  }

  /**
   * Returns how many pages were copied; the next vcpu.run() starts the template. Or -1: this memory is not the template's
   * any more, as a page of a guarded range has been written, by whomever and with whatever, or more than pagesMax pages were.
   */
  rewind(): number {
    return native.rewinderRewind(this.#handle);
  }

  /** rewind() and vcpu.run() in one call; returns what run() does. */
  rewindAndRun(): number {
    return native.rewinderRewindAndRun(this.#handle);
  }

  /** How many pages the last rewind copied. */
  get pagesCopied(): number {
    return native.rewinderPagesCopied(this.#handle);
  }

  /**
   * The numbers (offset / 4096), rising, of the pages that were written since the memory was mapped, excluded ranges
   * included. A rewind does not take pages off this list: they stay copied.
   */
  dirtyPages(): Uint32Array {
    return native.rewinderDirtyPages(this.#handle);
  }

  close(): void {
    native.close(this.#handle);
  }
}
