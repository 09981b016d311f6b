/** The Server-Timing header: where the time of a request went, in milliseconds with microsecond precision. */
import type { InvokeTiming } from '@mayfly/vmm';

/** Micros, as far as known: a request that never reached a guest has zeros. */
export interface RequestTiming {
  /** performance.now() when the request was received. */
  readonly startMs: number;
  invocation: InvokeTiming;
}

export const NO_TIMING: Readonly<InvokeTiming> = Object.freeze({ queueMicros: 0, guestMicros: 0 });

export function startTiming(): RequestTiming {
  return { startMs: performance.now(), invocation: NO_TIMING };
}

/** queue: until there was a clone; clone: making it, or finishing its rewind; guest: until its answer began. */
export function serverTiming({ startMs, invocation }: RequestTiming): string {
  const { queueMicros, cloneMicros = 0, guestMicros } = invocation;
  const ms = (micros: number) => (micros / 1000).toFixed(3);
  const queue = ms(Math.max(0, queueMicros - cloneMicros));
  const total = (performance.now() - startMs).toFixed(3);
  return `queue;dur=${queue}, clone;dur=${ms(cloneMicros)}, guest;dur=${ms(guestMicros)}, total;dur=${total}`;
}
