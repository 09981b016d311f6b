/** KVM's exits in words. */
import { exits } from '../kvm/index.js';

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
