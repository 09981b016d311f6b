import { native } from './native.js';

/**
 * Page faults that this thread had so far, minor and major: getrusage(2) with RUSAGE_THREAD. Those that KVM takes for a guest
 * that runs on this thread count as the thread's own; pages that only KVM's tables lack are no faults here.
 */
export function threadFaults(): number {
  return native.threadFaults();
}
