/** What is said of a guest that ended badly. */
import { exits, regOffsets } from '../kvm/index.js';
import type { KernelImage } from './kernel-image.js';

const EXITS = new Map<number, string>([
  [exits.UNKNOWN, 'unknown'],
  [exits.EXCEPTION, 'exception'],
  [exits.HLT, 'hlt'],
  [exits.SHUTDOWN, 'shutdown (triple fault)'],
  [exits.FAIL_ENTRY, 'entry failed'],
  [exits.INTERNAL_ERROR, 'internal error'],
]);

/** A KVM exit reason in words. */
export function exitName(reason: number): string {
  return `${EXITS.get(reason) ?? 'exit'} (reason ${reason})`;
}

/** The registers, four to a line, and the function that rip is in. */
export function registerDump(view: DataView, regsAt: number, kernel: KernelImage): string {
  const cells = Object.entries(regOffsets).map(([name, offset]) => {
    const value = view.getBigUint64(regsAt + offset, true);
    return `${name.padEnd(6)} ${value.toString(16).padStart(16, '0')}`;
  });
  const lines: string[] = [];
  for (let i = 0; i < cells.length; i += 4) lines.push(cells.slice(i, i + 4).join('  '));
  const rip = view.getBigUint64(regsAt + regOffsets.rip, true);
  return `${lines.join('\n')}\nrip is in ${kernel.describe(rip)}`;
}
