import type { ByteSource } from '../byte-source.js';
import { SHT, SYMBOL_SIZE } from './format.js';
import { elfBytes, parseElfSource, readAddress } from './parser.js';
import { readSections } from './sections.js';

const SYMBOLS_MAX = 2_000_000;
const NAME_BYTES_MAX = 1024;
/** Names may overlap in a hostile string table, so the sum is bounded as well as each one. */
const NAMES_BYTES_MAX = 256 * 1024 * 1024;

/** A named address. `size` is in bytes, 0 when the file does not say. */
export interface ElfSymbol {
  name: string;
  value: number;
  size: number;
  kind: 'function' | 'object' | 'other';
}

export interface SymbolisedAddress {
  name: string;
  /** Bytes between the symbol's start and the address. */
  offset: number;
}

/**
 * The named, defined symbols of an ELF file, sorted by address: .symtab, or .dynsym when the file is stripped.
 * Throws as parseElf does.
 */
export function readSymbols(bytes: Uint8Array, name = 'the file'): ElfSymbol[] {
  const source = elfBytes(bytes, name);
  const found = findTable(source);
  if (found === undefined) return [];
  return readTable(source, found.table, found.strings).sort(
    (a, b) => a.value - b.value || b.size - a.size || (a.name < b.name ? -1 : 1),
  );
}

function findTable(source: ByteSource): { table: Buffer; strings: Buffer } | undefined {
  const sections = readSections(source, parseElfSource(source).sections);
  const table =
    sections.find(({ type }) => type === SHT.symtab) ??
    sections.find(({ type }) => type === SHT.dynsym);
  if (table === undefined) return undefined;
  const strings = sections[table.link];
  if (strings?.type !== SHT.strtab) throw source.damaged('its symbols have no names');
  return {
    table: source.read(table.offset, table.size),
    strings: source.read(strings.offset, strings.size),
  };
}

/** The symbol that covers an address, by the sorted list of readSymbols; undefined when none does. */
export function symbolise(symbols: ElfSymbol[], address: number): SymbolisedAddress | undefined {
  let low = 0;
  let high = symbols.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (symbols[middle]!.value <= address) low = middle + 1;
    else high = middle;
  }
  const last = symbols[low - 1];
  if (last === undefined) return undefined;
  // Among symbols of one address the list puts the largest first, so walk back to the first of the group.
  let first = low - 1;
  while (symbols[first - 1]?.value === last.value) first--;
  const symbol = symbols[first]!;
  const offset = address - symbol.value;
  return symbol.size === 0 || offset < symbol.size ? { name: symbol.name, offset } : undefined;
}

function readTable(source: ByteSource, table: Buffer, strings: Buffer): ElfSymbol[] {
  const count = Math.floor(table.length / SYMBOL_SIZE);
  if (count > SYMBOLS_MAX) throw source.damaged(`it has ${count} symbols`);
  const symbols: ElfSymbol[] = [];
  let nameBytes = 0;
  for (let at = 0; at < count * SYMBOL_SIZE; at += SYMBOL_SIZE) {
    const symbol = readSymbol(source, table.subarray(at, at + SYMBOL_SIZE), strings);
    if (symbol === undefined) continue;
    nameBytes += symbol.name.length;
    if (nameBytes > NAMES_BYTES_MAX) throw source.damaged('its symbol names overlap');
    symbols.push(symbol);
  }
  return symbols;
}

/** One entry, or undefined for those that name no place: undefined, unnamed, section, file and TLS symbols. */
function readSymbol(source: ByteSource, bytes: Buffer, strings: Buffer): ElfSymbol | undefined {
  const nameAt = bytes.readUInt32LE(0);
  const type = bytes.readUInt8(4) & 0xf;
  const value = bytes.readBigUInt64LE(8);
  if (nameAt === 0 || bytes.readUInt16LE(6) === 0 || type > 2) return undefined;
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  return {
    name: readName(source, strings, nameAt),
    value: Number(value),
    size: readAddress(source, bytes, 16),
    kind: type === 2 ? 'function' : type === 1 ? 'object' : 'other',
  };
}

function readName(source: ByteSource, strings: Buffer, at: number): string {
  const window = strings.subarray(at, at + NAME_BYTES_MAX);
  const end = window.indexOf(0);
  // C++ names can be longer than anybody wants to read; they are cut, unless the table itself ends first.
  if (end === -1 && window.length < NAME_BYTES_MAX) throw source.damaged('a symbol has no name');
  return window.toString('latin1', 0, end === -1 ? window.length : end);
}
