/**
 * An ELF core file of a stopped program, as Linux writes it (fs/binfmt_elf.c, linux/elfcore.h): notes with each thread's
 * registers, then one segment for each mapping. Memory that was never touched is a hole.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { MayflyError } from '@mayfly/protocol';
import {
  type FrameRegister,
  frameRegisters,
  type GuestThread,
  type Mapping,
  type StoppedProcess,
} from './stopped-process.js';
import { normalXsave } from './vector-state.js';

const PAGE = 4096;
const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const NOTE = { prstatus: 1, fpregset: 2, prpsinfo: 3, auxv: 6, xstate: 0x202 };
const NOTE_SIGINFO = 0x53494749;
const NOTE_FILE = 0x46494c45;
const PT_LOAD = 1;
const PT_NOTE = 4;
/** e_phnum has 16 bits, the highest of which mean something else. */
const MAPPINGS_MAX = 65_000;

export interface CoreOptions {
  path: string;
  signal: number;
  argv: readonly string[];
  /** The processor's XCR0: which vector state there is. */
  xcr0: bigint;
  /** More bytes than an honest guest can have: its RAM and its images. */
  bytesMax: number;
}

/**
 * Writes a core file, which takes the place of whatever is at `path`; returns the bytes of memory in it.
 * Throws MAYFLY_CORE_NOT_WRITTEN, MAYFLY_GUEST_BAD_TABLES.
 */
export function writeCore(process: StoppedProcess, options: CoreOptions): number {
  let fd: number;
  try {
    fd = openSync(options.path, 'w', 0o600);
  } catch (error) {
    throw notWritten(options.path, error);
  }
  try {
    return writeTo(fd, process, options);
  } catch (error) {
    throw error instanceof MayflyError ? error : notWritten(options.path, error);
  } finally {
    closeSync(fd);
  }
}

function notWritten(path: string, cause: unknown): MayflyError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new MayflyError('MAYFLY_CORE_NOT_WRITTEN', `no core file at ${path}: ${reason}`);
}

function writeTo(fd: number, process: StoppedProcess, options: CoreOptions): number {
  const mappings = process.mappings.slice(0, MAPPINGS_MAX);
  const notes = allNotes(process, options);
  const notesAt = HEADER_SIZE + PROGRAM_HEADER_SIZE * (mappings.length + 1);
  const dataAt = BigInt(Math.ceil((notesAt + notes.length) / PAGE) * PAGE);
  const headers = [programHeader({ type: PT_NOTE, offset: BigInt(notesAt), size: notes.length })];
  let end = dataAt;
  for (const mapping of mappings) {
    headers.push(mappingHeader(mapping, end));
    end += bytesInFile(mapping);
  }
  writeSync(fd, Buffer.concat([elfHeader(headers.length), ...headers, notes]), 0, null, 0);
  ftruncateSync(fd, Number(end));
  return writeMemory(fd, process, mappings, dataAt, options);
}

/** Address space that nobody may touch has no bytes. */
function bytesInFile(mapping: Mapping): bigint {
  const { readable, writable, executable } = mapping;
  return readable || writable || executable ? mapping.end - mapping.start : 0n;
}

function writeMemory(
  fd: number,
  process: StoppedProcess,
  mappings: readonly Mapping[],
  start: bigint,
  options: CoreOptions,
): number {
  let at = start;
  let written = 0;
  for (const mapping of mappings) {
    const size = bytesInFile(mapping);
    for (const part of process.memory.present(mapping.start, mapping.start + size)) {
      written += writeSparse(fd, part.bytes, at + (part.address - mapping.start));
      if (written > options.bytesMax) {
        throw new MayflyError(
          'MAYFLY_CORE_NOT_WRITTEN',
          `the core file at ${options.path} was cut: the guest maps more than its memory`,
        );
      }
    }
    at += size;
  }
  return written;
}

/** Pages of zeros become holes. */
function writeSparse(fd: number, bytes: Uint8Array, position: bigint): number {
  let written = 0;
  for (let at = 0; at < bytes.length; ) {
    let end = at;
    while (end < bytes.length && !isZero(bytes, end)) end += PAGE;
    if (end > at) {
      const part = bytes.subarray(at, Math.min(end, bytes.length));
      for (let done = 0; done < part.length; ) {
        done += writeSync(fd, part, done, part.length - done, Number(position) + at + done);
      }
      written += part.length;
    }
    at = end + PAGE;
  }
  return written;
}

const ZEROS = Buffer.alloc(PAGE);

function isZero(bytes: Uint8Array, at: number): boolean {
  const page = bytes.subarray(at, at + PAGE);
  return ZEROS.compare(page, 0, page.length, 0, page.length) === 0;
}

function elfHeader(programHeaders: number): Buffer {
  const header = Buffer.alloc(HEADER_SIZE);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // 64-bit, little-endian, version 1
  header.writeUInt16LE(4, 16); // ET_CORE
  header.writeUInt16LE(62, 18); // x86-64
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(HEADER_SIZE), 32);
  header.writeUInt16LE(HEADER_SIZE, 52);
  header.writeUInt16LE(PROGRAM_HEADER_SIZE, 54);
  header.writeUInt16LE(programHeaders, 56);
  return header;
}

function programHeader(h: {
  type: number;
  offset: bigint;
  size: number | bigint;
  flags?: number;
  address?: bigint;
  memorySize?: bigint;
}): Buffer {
  const bytes = Buffer.alloc(PROGRAM_HEADER_SIZE);
  bytes.writeUInt32LE(h.type, 0);
  bytes.writeUInt32LE(h.flags ?? 0, 4);
  bytes.writeBigUInt64LE(h.offset, 8);
  bytes.writeBigUInt64LE(h.address ?? 0n, 16);
  bytes.writeBigUInt64LE(BigInt(h.size), 32);
  bytes.writeBigUInt64LE(h.memorySize ?? 0n, 40);
  bytes.writeBigUInt64LE(BigInt(h.type === PT_NOTE ? 4 : PAGE), 48);
  return bytes;
}

function mappingHeader(mapping: Mapping, offset: bigint): Buffer {
  const flags =
    (mapping.readable ? 4 : 0) | (mapping.writable ? 2 : 0) | (mapping.executable ? 1 : 0);
  return programHeader({
    type: PT_LOAD,
    offset,
    size: bytesInFile(mapping),
    flags,
    address: mapping.start,
    memorySize: mapping.end - mapping.start,
  });
}

function note(type: number, content: Buffer, name = 'CORE'): Buffer {
  const padded = (n: number) => Math.ceil(n / 4) * 4;
  const nameSize = name.length + 1;
  const bytes = Buffer.alloc(12 + padded(nameSize) + padded(content.length));
  bytes.writeUInt32LE(nameSize, 0);
  bytes.writeUInt32LE(content.length, 4);
  bytes.writeUInt32LE(type, 8);
  bytes.write(name, 12, 'latin1');
  bytes.set(content, 12 + padded(nameSize));
  return bytes;
}

/** The thread that died comes first: debuggers show that one. */
function allNotes(process: StoppedProcess, options: CoreOptions): Buffer {
  const { current } = process;
  const others = process.threads.filter((t) => t !== current);
  const pid = process.threads[0]?.tid ?? 0;
  const notes = current === undefined ? [] : [prstatus(current, options.signal)];
  notes.push(note(NOTE.prpsinfo, prpsinfo(pid, process.threads[0]?.name ?? '', options.argv)));
  notes.push(note(NOTE_SIGINFO, siginfo(process, options.signal)));
  notes.push(note(NOTE.auxv, process.auxv));
  notes.push(note(NOTE_FILE, fileNote(process.mappings.filter((m) => m.path !== ''))));
  if (current !== undefined) notes.push(...vectorNotes(current, options.xcr0));
  for (const thread of others) {
    notes.push(prstatus(thread, 0), ...vectorNotes(thread, options.xcr0));
  }
  return Buffer.concat(notes);
}

/** The order of struct user_regs_struct; struct regs of the guest kernel begins alike, by choice. */
function generalRegisters(thread: GuestThread): bigint[] {
  const { registers } = thread;
  const frame = frameRegisters.filter((name) => name !== 'vector' && name !== 'error');
  const value = (name: FrameRegister) => registers[name];
  const at = frame.indexOf('rip');
  return [
    ...frame.slice(0, at).map(value),
    registers.origRax,
    ...frame.slice(at).map(value),
    registers.fsBase,
    registers.gsBase,
    ...[registers.ss, registers.ss, 0n, 0n], // ds, es, fs, gs
  ];
}

function prstatus(thread: GuestThread, signal: number): Buffer {
  const bytes = Buffer.alloc(336);
  bytes.writeInt32LE(signal, 0);
  bytes.writeInt16LE(signal, 12);
  bytes.writeInt32LE(thread.tid, 32);
  for (const [i, value] of generalRegisters(thread).entries()) {
    bytes.writeBigUInt64LE(value, 112 + 8 * i);
  }
  bytes.writeInt32LE(thread.xsave.length > 0 ? 1 : 0, 328);
  return note(NOTE.prstatus, bytes);
}

function prpsinfo(pid: number, name: string, argv: readonly string[]): Buffer {
  const bytes = Buffer.alloc(136);
  bytes.write('R', 1);
  bytes.writeInt32LE(pid, 24);
  bytes.write(name, 40, 15);
  bytes.write(argv.join(' '), 56, 79);
  return bytes;
}

function siginfo(process: StoppedProcess, signal: number): Buffer {
  const bytes = Buffer.alloc(128);
  bytes.writeInt32LE(signal, 0);
  if (process.fault !== undefined) {
    bytes.writeInt32LE(process.fault.code, 8);
    bytes.writeBigUInt64LE(process.fault.address, 16);
  }
  return bytes;
}

function fileNote(mappings: readonly Mapping[]): Buffer {
  const numbers = [BigInt(mappings.length), BigInt(PAGE)];
  for (const m of mappings) numbers.push(m.start, m.end, m.offset / BigInt(PAGE));
  const table = Buffer.alloc(8 * numbers.length);
  for (const [i, value] of numbers.entries()) table.writeBigUInt64LE(value, 8 * i);
  return Buffer.concat([table, ...mappings.map((m) => Buffer.from(`${m.path}\0`))]);
}

function vectorNotes(thread: GuestThread, xcr0: bigint): Buffer[] {
  if (thread.xsave.length === 0) return [];
  const xsave = normalXsave(thread.xsave, xcr0);
  return [note(NOTE.fpregset, xsave.subarray(0, 512)), note(NOTE.xstate, xsave, 'LINUX')];
}
