/** Page faults of this thread, as an invocation counts them. */
import { threadFaults } from '../kvm/index.js';

let last = 0;

/**
 * Faults since the last call: the guest's, if it is called after a turn of the guest and after everything else that may
 * fault by the thousand. One system call.
 */
export function takeFaults(): number {
  const before = last;
  last = threadFaults();
  return last - before;
}
