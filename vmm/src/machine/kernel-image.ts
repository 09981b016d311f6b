/** The guest kernel as built by `make -C firmware`: its segments and symbols, read once a process. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type ElfSymbol, parseElf, readSymbols, symbolise, symbolValues } from '@mayfly/image/elf';
import { abi, MayflyError } from '@mayfly/protocol';

export interface Segment {
  gpa: number;
  bytes: Uint8Array;
}

const PT_LOAD = 1;

/** What the VMM must find in the kernel. */
const SYMBOLS = [
  'syscall_trap',
  'exception_stubs',
  'page_fault_stub',
  'cpl0_start',
  'cpl0_end',
] as const;

export class KernelImage {
  static #default: KernelImage | undefined;

  readonly entry: number;
  readonly segments: readonly Segment[];
  readonly #bytes: Uint8Array;
  readonly #addresses: ReadonlyMap<string, number>;
  #symbols: ElfSymbol[] | undefined;

  constructor(bytes: Uint8Array) {
    const elf = parseElf(bytes);
    this.#bytes = bytes;
    this.#addresses = symbolValues(bytes, SYMBOLS);
    this.entry = elf.entry;
    this.segments = elf.programHeaders
      .filter((p) => p.type === PT_LOAD && p.fileSize > 0)
      .map((p) => ({
        gpa: p.vaddr - abi.layout.WINDOW_VA,
        bytes: bytes.subarray(p.offset, p.offset + p.fileSize),
      }));
  }

  /** The kernel of this installation. Throws MAYFLY_KERNEL_MISSING when it was not built. */
  static default(): KernelImage {
    KernelImage.#default ??= new KernelImage(readKernel());
    return KernelImage.#default;
  }

  /** SHA-256 of the file, hex. */
  get digest(): string {
    return createHash('sha256').update(this.#bytes).digest('hex');
  }

  /** Address of a global symbol. */
  symbol(name: (typeof SYMBOLS)[number]): number {
    const address = this.#addresses.get(name);
    if (address === undefined) {
      throw new MayflyError('MAYFLY_KERNEL_DAMAGED', `the guest kernel has no symbol ${name}`);
    }
    return address;
  }

  /** `name+0x12` for an address in the kernel, else the bare number. */
  describe(address: bigint): string {
    this.#symbols ??= readSymbols(this.#bytes);
    const found = symbolise(this.#symbols, Number(address));
    return found === undefined
      ? `0x${address.toString(16)}`
      : `${found.name}+0x${found.offset.toString(16)}`;
  }
}

function readKernel(): Uint8Array {
  const path = fileURLToPath(new URL('../../../../firmware/build/kernel.elf', import.meta.url));
  try {
    return readFileSync(path);
  } catch (error) {
    const hint = 'run `npm run setup` to build it';
    throw new MayflyError('MAYFLY_KERNEL_MISSING', `no guest kernel at ${path}: ${hint}`, {
      cause: error,
    });
  }
}
