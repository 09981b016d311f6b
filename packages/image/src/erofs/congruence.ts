import { MayflyError } from '@mayfly/protocol';
import { PT } from '../elf/format.js';
import type { Elf } from '../elf/parser.js';
import { parseElfOf } from '../tree/elf-source.js';
import type { FileSourceOf } from '../tree/tree.js';
import { BLOCK_SIZE, HUGE_PAGE_SIZE } from './format.js';

/**
 * Where a large file has to start in the image, modulo 2 MiB, so that the guest can map it with 2 MiB entries: image
 * offset, host address and guest address must be congruent. Programs linked at a fixed address decide it by their first
 * segment; all others are loaded wherever the guest kernel likes, so 0 serves them.
 */
export function congruenceOf(source: FileSourceOf): number {
  const elf = elfOf(source);
  const first =
    elf?.type === 'exec' ? elf.programHeaders.find(({ type }) => type === PT.load) : undefined;
  if (first === undefined) return 0;
  const residue = modulo(first.vaddr - first.offset, HUGE_PAGE_SIZE);
  return residue % BLOCK_SIZE === 0 ? residue : 0;
}

/** A file that is no sound ELF file is data, and data may be anything. */
function elfOf(source: FileSourceOf): Elf | undefined {
  try {
    return parseElfOf(source);
  } catch (error) {
    if (error instanceof MayflyError) return undefined;
    throw error;
  }
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}
