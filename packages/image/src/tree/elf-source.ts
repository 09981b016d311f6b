import { type Elf, parseElf, parseElfFile } from '../elf/parser.js';
import { readRanges } from './ranges.js';
import type { FileSourceOf } from './tree.js';

/** Parses the ELF file that a tree's file holds; throws as parseElf does. */
export function parseElfOf(source: FileSourceOf, name?: string): Elf {
  if (source.kind === 'host') return parseElfFile(source.hostPath);
  if (source.kind === 'bytes') return parseElf(source.bytes, name);
  const [{ offset, length } = { length: 0 }, ...others] = source.ranges;
  if (offset !== undefined && others.length === 0)
    return parseElfFile(source.hostPath, { offset, length, name });
  return parseElf(readRanges(source), name);
}
