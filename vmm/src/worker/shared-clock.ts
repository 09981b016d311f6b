/** CLOCK_MONOTONIC at the origin of this thread's performance.now(), in milliseconds. */
const ORIGIN = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** Milliseconds of a clock that all threads and processes of the host share, and that nobody sets. */
export const sharedNow = (): number => ORIGIN + performance.now();
