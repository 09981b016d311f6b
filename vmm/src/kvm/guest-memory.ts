import { markAsUntransferable } from 'node:worker_threads';
import { type MemoryHandle, memoryKinds, native } from './native.js';

export interface FileMapping {
  /** Where in the file the memory starts: bytes, a multiple of 4096; 0 by default. */
  readonly offset?: number;
  /** Ask for 2 MiB pages, which a file has if its file system does and it was not in the page cache. Default: yes. */
  readonly huge?: boolean;
}

/**
 * Memory that a guest can be given. Sizes are bytes, multiples of 4096.
 *
 * It stays mapped after close() for as long as a Vm, a Vcpu's clock or a Rewinder uses it; only JavaScript's `buffer`
 * goes at once. Asynchronous I/O into the buffer must have ended by then.
 */
export class GuestMemory {
  /** For the other classes of this folder. */
  readonly handle: MemoryHandle;
  readonly size: number;
  /** No write may go through `buffer`. */
  readonly readonly: boolean;
  #buffer: ArrayBuffer | undefined;

  private constructor(kind: keyof typeof memoryKinds, size: number, fd: number, map: FileMapping) {
    const { offset = 0, huge = true } = map;
    this.handle = native.memoryCreate(memoryKinds[kind], size, fd, offset, huge);
    this.size = size;
    this.readonly = kind === 'readonlyFile';
  }

  /** Zeros at a multiple of 2 MiB, not accounted for until touched; `huge` asks for 2 MiB pages. */
  static anonymous(size: number, options: { readonly huge?: boolean } = {}): GuestMemory {
    return new GuestMemory('anonymous', size, -1, { huge: options.huge ?? false });
  }

  /** Zeros in a new memfd (see `fd`), mapped shared. */
  static memfd(size: number): GuestMemory {
    return new GuestMemory('memfd', size, -1, { huge: false });
  }

  /**
   * A file mapped copy-on-write, at an address that is congruent to the offset modulo 2 MiB. What is written stays in
   * this process, and is what a Rewinder puts back. The file must not shrink while it is mapped.
   */
  static privateFile(fd: number, size: number, options: FileMapping = {}): GuestMemory {
    return new GuestMemory('privateFile', size, fd, options);
  }

  /**
   * A file mapped shared and read-only, at an address that is congruent to the offset modulo 2 MiB. A write through
   * `buffer` kills the process. The file must not shrink while it is mapped.
   */
  static readonlyFile(fd: number, size: number, options: FileMapping = {}): GuestMemory {
    return new GuestMemory('readonlyFile', size, fd, options);
  }

  /**
   * For privateFile() from the start of its file: puts another file of this size behind the memory, at the same address
   * and in the same `buffer`. No VM, clock or rewinder may use the memory (MAYFLY_KVM_IOCTL, EBUSY, else), and whoever
   * holds a view of `buffer` sees the other file's bytes.
   */
  replaceFile(fd: number): void {
    native.memoryReplace(this.handle, true, fd);
  }

  /** As replaceFile() with no file: gives all pages back; zeros from now on. */
  empty(): void {
    native.memoryReplace(this.handle, false, -1);
  }

  /** For privateFile(): the pages that were written since it was mapped or replaced, as pairs like those of runs(). */
  written(): Uint32Array {
    return native.memoryWritten(this.handle);
  }

  /**
   * Makes pages present and writable ahead of their first use: pairs [first page, count] as runs() returns them. They
   * count as written.
   */
  populate(runs: Uint32Array): void {
    native.memoryPopulate(this.handle, Uint32Array.from(runs).buffer);
  }

  /** The memory itself, not a copy. Detached by close(). */
  get buffer(): ArrayBuffer {
    if (this.#buffer === undefined) {
      this.#buffer = native.memoryBuffer(this.handle);
      markAsUntransferable(this.#buffer); // another thread would not know when the memory goes
    }
    return this.#buffer;
  }

  /** Where this process has it. */
  get address(): bigint {
    return native.memoryAddress(this.handle);
  }

  /** The memfd, which closes with the memory; -1 for the other kinds. */
  get fd(): number {
    return native.memoryFd(this.handle);
  }

  /**
   * Replaces the contents of a file, open for writing, by the first `size` bytes: holes for 2 MiB blocks of zeros, one
   * 2 MiB write for each other block, so that the page cache keeps 2 MiB folios. Blocks this thread; does not fsync.
   */
  writeTo(fd: number, size: number = this.size): void {
    native.memoryWriteTo(this.handle, fd, size);
  }

  /**
   * The pages that are not all zeros or, with `base` of the same size, that differ from it: pairs [first page, count] of
   * 4096-byte pages, rising and apart.
   */
  runs(base?: GuestMemory): Uint32Array {
    return native.memoryRuns(this.handle, base?.handle ?? null);
  }

  /**
   * Takes what is on the disk of a file out of the page cache. Written in small pieces, it is there in small folios; a
   * mapping reads it in again in 2 MiB ones, where the file system has them.
   */
  static uncache(fd: number): void {
    native.fileUncache(fd);
  }

  close(): void {
    this.#buffer = undefined;
    native.close(this.handle);
  }
}
