import { DT, ET, MACHINE_X86_64, PT, SHT } from '../../src/elf/format.js';

export interface MiniElf {
  type?: keyof typeof ET;
  machine?: number;
  elfClass?: number;
  vaddr?: number;
  interp?: string;
  needed?: string[];
  soname?: string;
  rpath?: string;
  runpath?: string;
  symbols?: { name: string; value: number; size: number }[];
  /** Zeros at the end, for large files. */
  padTo?: number;
}

const PARTS_AT = 64 + 3 * 56;

/** Builds a small but well-formed ELF file: header, three program headers, dynamic section, symbol table. */
export function buildElf(spec: MiniElf = {}): Buffer {
  const vaddr = spec.vaddr ?? 0x400000;
  const strings = new Strings();
  const dynamic = dynamicEntries(spec, strings);
  const symbols = symbolTable(spec, strings);
  const interp = Buffer.from(spec.interp === undefined ? '' : `${spec.interp}\0`);
  const table = strings.bytes();
  const dynamicAt = PARTS_AT + interp.length;
  const stringsAt = dynamicAt + (dynamic.length + 3) * 16;
  const symbolsAt = stringsAt + table.length;
  const sectionsAt = symbolsAt + symbols.length;
  dynamic.push([DT.strtab, vaddr + stringsAt], [DT.strsz, table.length], [DT.null, 0]);
  const size = Math.max(sectionsAt + 3 * 64, spec.padTo ?? 0);
  const file = Buffer.alloc(size);
  writeHeader(file, spec, vaddr, sectionsAt);
  writeProgramHeader(file, 0, PT.load, 0, vaddr, size);
  writeProgramHeader(file, 1, PT.dynamic, dynamicAt, vaddr, dynamic.length * 16);
  writeProgramHeader(
    file,
    2,
    spec.interp === undefined ? 0 : PT.interp,
    PARTS_AT,
    vaddr,
    interp.length,
  );
  interp.copy(file, PARTS_AT);
  dynamic.forEach(([tag, value], index) => {
    file.writeBigUInt64LE(BigInt(tag), dynamicAt + index * 16);
    file.writeBigUInt64LE(BigInt(value), dynamicAt + index * 16 + 8);
  });
  table.copy(file, stringsAt);
  symbols.copy(file, symbolsAt);
  writeSection(file, sectionsAt + 64, SHT.symtab, symbolsAt, symbols.length, 2);
  writeSection(file, sectionsAt + 128, SHT.strtab, stringsAt, table.length, 0);
  return file;
}

class Strings {
  #text = '\0';

  add(text: string): number {
    const at = Buffer.byteLength(this.#text);
    this.#text += `${text}\0`;
    return at;
  }

  bytes(): Buffer {
    return Buffer.from(this.#text);
  }
}

function dynamicEntries(spec: MiniElf, strings: Strings): [number, number][] {
  const entries = (spec.needed ?? []).map((name): [number, number] => [
    DT.needed,
    strings.add(name),
  ]);
  if (spec.soname !== undefined) entries.push([DT.soname, strings.add(spec.soname)]);
  if (spec.rpath !== undefined) entries.push([DT.rpath, strings.add(spec.rpath)]);
  if (spec.runpath !== undefined) entries.push([DT.runpath, strings.add(spec.runpath)]);
  return entries;
}

function symbolTable(spec: MiniElf, strings: Strings): Buffer {
  const symbols = spec.symbols ?? [];
  const bytes = Buffer.alloc((symbols.length + 1) * 24);
  symbols.forEach(({ name, value, size }, index) => {
    const at = (index + 1) * 24;
    bytes.writeUInt32LE(strings.add(name), at);
    bytes.writeUInt8(2, at + 4);
    bytes.writeUInt16LE(1, at + 6);
    bytes.writeBigUInt64LE(BigInt(value), at + 8);
    bytes.writeBigUInt64LE(BigInt(size), at + 16);
  });
  return bytes;
}

function writeHeader(file: Buffer, spec: MiniElf, vaddr: number, sectionsAt: number): void {
  file.write('\x7fELF', 'latin1');
  file.set([spec.elfClass ?? 2, 1, 1], 4);
  file.writeUInt16LE(ET[spec.type ?? 'exec'], 16);
  file.writeUInt16LE(spec.machine ?? MACHINE_X86_64, 18);
  file.writeBigUInt64LE(BigInt(vaddr + 0x100), 24);
  file.writeBigUInt64LE(64n, 32);
  file.writeBigUInt64LE(BigInt(sectionsAt), 40);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(3, 56);
  file.writeUInt16LE(64, 58);
  file.writeUInt16LE(3, 60);
}

function writeProgramHeader(
  file: Buffer,
  index: number,
  type: number,
  offset: number,
  vaddr: number,
  size: number,
): void {
  const at = 64 + index * 56;
  file.writeUInt32LE(type, at);
  file.writeBigUInt64LE(BigInt(offset), at + 8);
  file.writeBigUInt64LE(BigInt(vaddr + offset), at + 16);
  file.writeBigUInt64LE(BigInt(size), at + 32);
  file.writeBigUInt64LE(BigInt(size), at + 40);
}

function writeSection(
  file: Buffer,
  at: number,
  type: number,
  offset: number,
  size: number,
  link: number,
): void {
  file.writeUInt32LE(type, at + 4);
  file.writeBigUInt64LE(BigInt(offset), at + 24);
  file.writeBigUInt64LE(BigInt(size), at + 32);
  file.writeUInt32LE(link, at + 40);
}
