/** The ELF files that a stopped program has mapped, found in its images: for names and for unwinding. */
import { type ElfSymbol, parseElf, readSection, readSymbols, symbolise } from '@mayfly/image/elf';
import { ErofsReader } from '@mayfly/image/erofs-reader';
import { CallFrames, type FrameRule } from './call-frames.js';
import type { Mapping } from './stopped-process.js';

const PT_LOAD = 1;

/** An image's path, and its bytes as the machine has them mapped. */
export interface ImageFile {
  path: string;
  /** Guest-physical address of its first byte. */
  gpa: number;
  bytes: Uint8Array;
}

/** One ELF file. Addresses are the file's own numbering. A damaged one has no names and no rules. */
class ElfFile {
  readonly path: string;
  readonly #bytes: Uint8Array;
  #symbols: ElfSymbol[] | undefined;
  #frames: CallFrames | undefined | null = null;

  constructor(path: string, bytes: Uint8Array) {
    this.path = path;
    this.#bytes = bytes;
  }

  /** The address of the byte at a file offset. */
  addressOf(offset: number): number | undefined {
    const segment = attempt(() => parseElf(this.#bytes))?.programHeaders.find(
      (p) => p.type === PT_LOAD && offset >= p.offset && offset < p.offset + p.fileSize,
    );
    return segment === undefined ? undefined : segment.vaddr + (offset - segment.offset);
  }

  nameAt(address: number, back: number): string | undefined {
    this.#symbols ??= attempt(() => readSymbols(this.#bytes)) ?? [];
    const found = symbolise(this.#symbols, address);
    return found === undefined
      ? undefined
      : `${found.name}+0x${(found.offset + back).toString(16)}`;
  }

  ruleAt(address: number): FrameRule | undefined {
    if (this.#frames === null) {
      const section = attempt(() => readSection(this.#bytes, '.eh_frame'));
      this.#frames = section && new CallFrames(section.bytes, section.address);
    }
    return this.#frames?.ruleAt(address);
  }
}

/** Undefined for what a parser refuses. */
function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

export class Modules {
  readonly #images: readonly ImageFile[];
  readonly #files = new Map<string, ElfFile | undefined>();

  /** `images` as the machine has them, bottom first. */
  constructor(images: readonly ImageFile[]) {
    this.#images = images;
  }

  /**
   * `function+0x12 (/path)`, or as much of it as is known. A return address belongs to the function of the byte before it:
   * `address` is that byte then, and `back` is 1.
   */
  describe(address: bigint, mapping: Mapping | undefined, back = 0): string {
    if (mapping === undefined) return 'not mapped';
    const found = this.#locate(address, mapping);
    if (found === undefined) return mapping.path === '' ? 'anonymous memory' : `(${mapping.path})`;
    const name = found.file.nameAt(found.address, back);
    return name === undefined ? `(${mapping.path})` : `${name} (${mapping.path})`;
  }

  ruleAt(address: bigint, mapping: Mapping | undefined): FrameRule | undefined {
    const found = mapping && this.#locate(address, mapping);
    return found?.file.ruleAt(found.address);
  }

  #locate(address: bigint, mapping: Mapping): { file: ElfFile; address: number } | undefined {
    const file = mapping.path === '' ? undefined : this.#file(mapping.path);
    const own = file?.addressOf(Number(address - mapping.start + mapping.offset));
    return file === undefined || own === undefined ? undefined : { file, address: own };
  }

  #file(path: string): ElfFile | undefined {
    if (!this.#files.has(path)) {
      const bytes = this.#images.map((image) => attempt(() => fileIn(image, path)));
      const top = bytes.reverse().find((b) => b !== undefined);
      this.#files.set(path, top === undefined ? undefined : new ElfFile(path, top));
    }
    return this.#files.get(path);
  }
}

function fileIn(image: ImageFile, path: string): Uint8Array | undefined {
  const reader = new ErofsReader(image.path);
  try {
    const entry = reader.stat(path);
    if (entry?.type !== 'file' || entry.offset === undefined) return undefined;
    return image.bytes.subarray(entry.offset, entry.offset + entry.size);
  } finally {
    reader.close();
  }
}
