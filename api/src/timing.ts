/** The Server-Timing header: where the time of a request went, in milliseconds with microsecond precision. */

/** Micros, as far as known: a request that never reached a guest has zeros. */
export interface RequestTiming {
  /** performance.now() when the request was received. */
  startMs: number;
  queueMicros: number;
  guestMicros: number;
}

export function startTiming(): RequestTiming {
  return { startMs: performance.now(), queueMicros: 0, guestMicros: 0 };
}

export function totalMs(timing: RequestTiming): number {
  return performance.now() - timing.startMs;
}

export function serverTiming(timing: RequestTiming): string {
  const queue = (timing.queueMicros / 1000).toFixed(3);
  const guest = (timing.guestMicros / 1000).toFixed(3);
  return `queue;dur=${queue}, guest;dur=${guest}, total;dur=${totalMs(timing).toFixed(3)}`;
}
