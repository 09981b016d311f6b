import type { ByteSource } from '../byte-source.js';
import { ELF_HEADER_SIZE, SECTION_HEADER_SIZE, SHT } from './format.js';
import { elfBytes, parseElfSource, readAddress, type SectionTable } from './parser.js';

export interface Section {
  /** Offset of its name in the section of names. */
  name: number;
  type: number;
  /** In the file's own numbering. */
  address: number;
  offset: number;
  size: number;
  link: number;
}

export function readSections(source: ByteSource, table: SectionTable): Section[] {
  if (table.count === 0) return [];
  const bytes = source.read(table.offset, table.count * SECTION_HEADER_SIZE);
  const sections: Section[] = [];
  for (let at = 0; at < bytes.length; at += SECTION_HEADER_SIZE) {
    sections.push({
      name: bytes.readUInt32LE(at),
      type: bytes.readUInt32LE(at + 4),
      address: readAddress(source, bytes, at + 16),
      offset: readAddress(source, bytes, at + 24),
      size: readAddress(source, bytes, at + 32),
      link: bytes.readUInt32LE(at + 40),
    });
  }
  return sections;
}

/**
 * The bytes of a section and their address in the file's own numbering; undefined when there is none of that name, or it
 * has no bytes in the file. Throws as parseElf does.
 */
export function readSection(
  bytes: Uint8Array,
  name: string,
): { address: number; bytes: Buffer } | undefined {
  const source = elfBytes(bytes, 'the file');
  const sections = readSections(source, parseElfSource(source).sections);
  const names = sections[source.read(0, ELF_HEADER_SIZE).readUInt16LE(62)];
  if (names?.type !== SHT.strtab) return undefined;
  const strings = source.read(names.offset, names.size);
  const wanted = Buffer.from(`${name}\0`);
  const found = sections.find(
    (s) => s.type !== SHT.nobits && strings.subarray(s.name, s.name + wanted.length).equals(wanted),
  );
  if (found === undefined) return undefined;
  return { address: found.address, bytes: source.read(found.offset, found.size) };
}
