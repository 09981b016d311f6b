/** The guest kernel as built by `make -C firmware`. Of its file no more is read than is needed: most of it is for debuggers. */
import { createHash } from 'node:crypto';
import { openSync, readFileSync, readSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type ElfSymbol, parseElfFile, readSymbols, symbolise } from '@mayfly/image/elf';
import { abi, MayflyError } from '@mayfly/protocol';

interface Segment {
  gpa: number;
  offset: number;
  size: number;
}

const PT_LOAD = 1;
const CHUNK = 0x10000;

export class KernelImage {
  static #default: KernelImage | undefined;

  readonly entry: number;
  readonly #path: string;
  readonly #file: number;
  readonly #segments: readonly Segment[];
  #digest: string | undefined;
  #symbols: ElfSymbol[] | undefined;

  /** The file stays open. Throws MAYFLY_ELF_* for what is no ELF file. */
  constructor(path: string) {
    this.#file = openSync(path, 'r');
    this.#path = path;
    const elf = parseElfFile(path);
    this.entry = elf.entry;
    this.#segments = elf.programHeaders
      .filter((p) => p.type === PT_LOAD && p.fileSize > 0)
      .map((p) => ({ gpa: p.vaddr - abi.layout.WINDOW_VA, offset: p.offset, size: p.fileSize }));
  }

  /** The kernel of this installation. Throws MAYFLY_KERNEL_MISSING when it was not built. */
  static default(): KernelImage {
    KernelImage.#default ??= openKernel();
    return KernelImage.#default;
  }

  /** SHA-256 of all that is loaded, hex. */
  get digest(): string {
    this.#digest ??= this.#hash();
    return this.#digest;
  }

  #hash(): string {
    const hash = createHash('sha256');
    const chunk = Buffer.alloc(CHUNK);
    for (const { offset, size } of this.#segments) {
      for (let at = 0; at < size; at += CHUNK) {
        const part = chunk.subarray(0, Math.min(CHUNK, size - at));
        this.#read(part, offset + at);
        hash.update(part);
      }
    }
    return hash.digest('hex');
  }

  /** Puts the kernel where it belongs in RAM, which begins at guest-physical 0. Throws MAYFLY_KERNEL_DAMAGED. */
  load(ram: Uint8Array): void {
    for (const { gpa, offset, size } of this.#segments) {
      this.#read(ram.subarray(gpa, gpa + size), offset);
    }
  }

  /** The page that runs at CPL 0. Throws MAYFLY_KERNEL_DAMAGED. */
  cpl0Page(): Buffer {
    const page = Buffer.alloc(abi.layout.CPL0_SIZE);
    const segment = this.#segments.find(({ gpa }) => gpa === abi.layout.KERNEL_GPA);
    if (segment === undefined) throw this.#damaged('has nothing at its first address');
    this.#read(page, segment.offset);
    return page;
  }

  #read(into: Uint8Array, offset: number): void {
    const count = readSync(this.#file, into, 0, into.length, offset);
    if (count !== into.length) throw this.#damaged('is cut short');
  }

  #damaged(what: string): MayflyError {
    return new MayflyError('MAYFLY_KERNEL_DAMAGED', `the guest kernel ${this.#path} ${what}`);
  }

  /** `name+0x12` for an address in the kernel, else the bare number. */
  describe(address: bigint): string {
    this.#symbols ??= readSymbols(readFileSync(this.#file));
    const found = symbolise(this.#symbols, Number(address));
    return found === undefined
      ? `0x${address.toString(16)}`
      : `${found.name}+0x${found.offset.toString(16)}`;
  }
}

function openKernel(): KernelImage {
  const path = fileURLToPath(new URL('../../../../firmware/build/kernel.elf', import.meta.url));
  try {
    return new KernelImage(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const hint = 'run `npm run setup` to build it';
    throw new MayflyError('MAYFLY_KERNEL_MISSING', `no guest kernel at ${path}: ${hint}`, {
      cause: error,
    });
  }
}
