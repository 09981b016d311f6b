import { MayflyError } from '@mayfly/protocol';
import { type ByteSource, type FilePart, FileSource, MemorySource } from '../byte-source.js';
import { type DynamicInfo, readDynamic } from './dynamic.js';
import {
  CLASS_64,
  DATA_LITTLE,
  ELF_HEADER_SIZE,
  ELF_MAGIC,
  ET,
  MACHINE_X86_64,
  machineName,
  PROGRAM_HEADER_SIZE,
  PT,
} from './format.js';

const INTERP_BYTES_MAX = 4096;
const DAMAGED = 'MAYFLY_ELF_DAMAGED';

/** One program header. Offsets and sizes are bytes; a PT_LOAD's file range is known to lie inside the file. */
export interface ProgramHeader {
  type: number;
  flags: number;
  offset: number;
  vaddr: number;
  fileSize: number;
  memorySize: number;
  align: number;
}

export interface SectionTable {
  offset: number;
  count: number;
}

/** An x86-64 ELF file's headers and dynamic section. */
export interface Elf extends DynamicInfo {
  type: 'exec' | 'dyn' | 'rel' | 'core' | 'other';
  entry: number;
  programHeaders: ProgramHeader[];
  sections: SectionTable;
  /** PT_INTERP: the guest path of the dynamic loader, if there is one. */
  interp: string | undefined;
}

/** Whether the bytes begin like an ELF file of any kind. */
export function looksLikeElf(start: Uint8Array): boolean {
  return start.length >= 4 && ELF_MAGIC.equals(start.subarray(0, 4));
}

/**
 * Parses an x86-64 ELF file held in memory.
 * Throws MAYFLY_ELF_NOT_ELF, MAYFLY_ELF_WRONG_ARCH or MAYFLY_ELF_DAMAGED; never anything else, whatever the bytes are.
 */
export function parseElf(bytes: Uint8Array, name = 'the file'): Elf {
  return parseElfSource(new MemorySource(bytes, name, DAMAGED));
}

/** Like parseElf for a host file, or a part of one, of which only the headers are read. */
export function parseElfFile(hostPath: string, part?: FilePart): Elf {
  const source = new FileSource(hostPath, DAMAGED, part);
  try {
    return parseElfSource(source);
  } finally {
    source.close();
  }
}

/** A source over bytes in memory whose damage is reported as MAYFLY_ELF_DAMAGED. */
export function elfBytes(bytes: Uint8Array, name: string): ByteSource {
  return new MemorySource(bytes, name, DAMAGED);
}

export function parseElfSource(source: ByteSource): Elf {
  const header = readHeader(source);
  const programHeaders = readProgramHeaders(source, header);
  return {
    type: typeName(header.readUInt16LE(16)),
    entry: readAddress(source, header, 24),
    programHeaders,
    sections: { offset: readAddress(source, header, 40), count: header.readUInt16LE(60) },
    interp: readInterp(source, programHeaders),
    ...readDynamic(source, programHeaders),
  };
}

/** A 64-bit field as a number. Honest x86-64 user-space files stay far below 2^53; others are damaged. */
export function readAddress(source: ByteSource, bytes: Buffer, at: number): number {
  const value = bytes.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw source.damaged(`the value 0x${value.toString(16)} is beyond any real address`);
  }
  return Number(value);
}

function readHeader(source: ByteSource): Buffer {
  const start = source.read(0, Math.min(source.size, ELF_HEADER_SIZE));
  if (!looksLikeElf(start)) {
    throw new MayflyError('MAYFLY_ELF_NOT_ELF', `${source.name} is not an ELF file`);
  }
  if (start.length < 20) throw source.damaged('it ends inside its header');
  refuseForeign(source.name, start);
  if (start.length < ELF_HEADER_SIZE) throw source.damaged('it ends inside its header');
  return start;
}

function refuseForeign(name: string, header: Buffer): void {
  const little = header[5] === DATA_LITTLE;
  const machine = little ? header.readUInt16LE(18) : header.readUInt16BE(18);
  if (header[4] === CLASS_64 && little && machine === MACHINE_X86_64) return;
  const width = header[4] === CLASS_64 ? '64-bit' : header[4] === 1 ? '32-bit' : 'unknown-class';
  const order = little ? 'little-endian' : 'big-endian';
  throw new MayflyError(
    'MAYFLY_ELF_WRONG_ARCH',
    `${name} is a ${width} ${order} ELF file for ${machineName(machine)}; Mayfly runs 64-bit x86-64`,
  );
}

function typeName(type: number): Elf['type'] {
  for (const [name, value] of Object.entries(ET)) {
    if (value === type) return name as keyof typeof ET;
  }
  return 'other';
}

function readProgramHeaders(source: ByteSource, header: Buffer): ProgramHeader[] {
  const count = header.readUInt16LE(56);
  if (count === 0) return [];
  if (header.readUInt16LE(54) !== PROGRAM_HEADER_SIZE) {
    throw source.damaged('its program headers have an unknown size');
  }
  const table = source.read(readAddress(source, header, 32), count * PROGRAM_HEADER_SIZE);
  const headers: ProgramHeader[] = [];
  for (let at = 0; at < table.length; at += PROGRAM_HEADER_SIZE) {
    headers.push(readProgramHeader(source, table.subarray(at, at + PROGRAM_HEADER_SIZE)));
  }
  return headers;
}

function readProgramHeader(source: ByteSource, bytes: Buffer): ProgramHeader {
  const header = {
    type: bytes.readUInt32LE(0),
    flags: bytes.readUInt32LE(4),
    offset: readAddress(source, bytes, 8),
    vaddr: readAddress(source, bytes, 16),
    fileSize: readAddress(source, bytes, 32),
    memorySize: readAddress(source, bytes, 40),
    align: readAddress(source, bytes, 48),
  };
  if (header.type !== PT.load) return header;
  if (header.offset + header.fileSize > source.size) {
    throw source.damaged('a segment lies outside the file');
  }
  if (header.fileSize > header.memorySize) {
    throw source.damaged('a segment has more bytes in the file than in memory');
  }
  return header;
}

function readInterp(source: ByteSource, headers: ProgramHeader[]): string | undefined {
  const header = headers.find(({ type }) => type === PT.interp);
  if (header === undefined) return undefined;
  if (header.fileSize > INTERP_BYTES_MAX) throw source.damaged('its interpreter path is too long');
  const bytes = source.read(header.offset, header.fileSize);
  const end = bytes.indexOf(0);
  if (end <= 0) throw source.damaged('its interpreter path is empty or does not end');
  return bytes.toString('utf8', 0, end);
}
