/** Longest time, in ms, for which a build keeps the thread from its other work. */
const BUSY_MS_MAX = 10;

/** Files up to this size are read synchronously: four trips to the thread pool cost more than the reading. */
export const SMALL_READ_SIZE = 256 * 1024;

/** Lets a loop of short synchronous steps give the event loop a turn every few milliseconds. */
export class Pacer {
  #since = performance.now();

  async pause(): Promise<void> {
    if (performance.now() - this.#since < BUSY_MS_MAX) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}
