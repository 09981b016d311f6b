import type { ByteSource } from '../byte-source.js';
import { DT, DYNAMIC_SIZE, PT } from './format.js';
import type { ProgramHeader } from './parser.js';

const STRING_BYTES_MAX = 4096;
/** chromium, the widest program at hand, needs 40 libraries. */
const NEEDED_MAX = 4096;
const DYNAMIC_ENTRIES_MAX = 65_536;

/** What the dynamic loader reads of a file before it looks for libraries. */
export interface DynamicInfo {
  /** DT_NEEDED in file order. */
  needed: string[];
  soname: string | undefined;
  /** DT_RPATH and DT_RUNPATH as written: a colon-separated list that may hold $ORIGIN. */
  rpath: string | undefined;
  runpath: string | undefined;
}

interface StringTable {
  offset: number;
  size: number;
}

/** Reads the PT_DYNAMIC segment; without one, everything is empty (a static program). */
export function readDynamic(source: ByteSource, headers: ProgramHeader[]): DynamicInfo {
  const info: DynamicInfo = {
    needed: [],
    soname: undefined,
    rpath: undefined,
    runpath: undefined,
  };
  const entries = readEntries(source, headers);
  const wanted = entries.filter(([tag]) => isString(tag));
  if (wanted.length === 0) return info;
  if (wanted.length > NEEDED_MAX) throw source.damaged('it needs too many libraries');
  const strings = findStrings(source, headers, new Map(entries));
  for (const [tag, value] of wanted) {
    const text = readString(source, strings, value);
    if (tag === DT.needed) info.needed.push(text);
    else if (tag === DT.soname) info.soname = text;
    else if (tag === DT.rpath) info.rpath = text;
    else info.runpath = text;
  }
  return info;
}

function isString(tag: number): boolean {
  return tag === DT.needed || tag === DT.soname || tag === DT.rpath || tag === DT.runpath;
}

/** Tags and values up to DT_NULL; values that are no number below 2^53 are not ones that we read. */
function readEntries(source: ByteSource, headers: ProgramHeader[]): [number, number][] {
  const header = headers.find(({ type }) => type === PT.dynamic);
  if (header === undefined) return [];
  const count = Math.floor(header.fileSize / DYNAMIC_SIZE);
  if (count > DYNAMIC_ENTRIES_MAX) throw source.damaged('its dynamic section is too large');
  const bytes = source.read(header.offset, count * DYNAMIC_SIZE);
  const entries: [number, number][] = [];
  for (let at = 0; at < bytes.length; at += DYNAMIC_SIZE) {
    const tag = Number(bytes.readBigUInt64LE(at));
    if (tag === DT.null) break;
    entries.push([tag, Number(bytes.readBigUInt64LE(at + 8))]);
  }
  return entries;
}

function findStrings(
  source: ByteSource,
  headers: ProgramHeader[],
  entries: Map<number, number>,
): StringTable {
  const vaddr = entries.get(DT.strtab);
  const size = entries.get(DT.strsz);
  if (vaddr === undefined || size === undefined) throw source.damaged('it has no string table');
  const segment = headers.find(
    (header) =>
      header.type === PT.load && vaddr >= header.vaddr && vaddr < header.vaddr + header.fileSize,
  );
  if (segment === undefined) throw source.damaged('its string table is in no segment');
  const offset = segment.offset + (vaddr - segment.vaddr);
  if (offset + size > source.size) throw source.damaged('its string table is outside the file');
  return { offset, size };
}

function readString(source: ByteSource, strings: StringTable, at: number): string {
  if (at >= strings.size) throw source.damaged('a string is outside the string table');
  const bytes = source.read(strings.offset + at, Math.min(strings.size - at, STRING_BYTES_MAX));
  const end = bytes.indexOf(0);
  if (end === -1) throw source.damaged('a string in its dynamic section does not end');
  return bytes.toString('utf8', 0, end);
}
