/**
 * The timer of AbortSignal.timeout() keeps no event loop alive. In a server, the listening socket does; here nothing does while
 * a function waits, and an invocation whose loop is empty has stalled. So a timer that counts runs beside it.
 */
export function keepTimeoutsAlive(): void {
  const { setTimeout } = globalThis; // the function may replace it
  const original = AbortSignal.timeout;
  AbortSignal.timeout = (delay) => {
    const signal = original.call(AbortSignal, delay);
    setTimeout(() => {}, delay);
    return signal;
  };
}
