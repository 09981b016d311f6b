import { type Elf, parseElf, parseElfFile } from '../elf/parser.js';
import type { FileSourceOf } from './tree.js';

/** Parses the ELF file that a tree's file holds; throws as parseElf does. */
export function parseElfOf(source: FileSourceOf, name?: string): Elf {
  return source.kind === 'host' ? parseElfFile(source.hostPath) : parseElf(source.bytes, name);
}
