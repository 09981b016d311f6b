/** The side of a benchmark that asks: keep-alive connections, each request timed. */
import { Pool } from 'undici';

/** Requests that wait for one of an open-loop load; with more, it is the client that is measured. */
const LATE_MAX = 10_000;

/** One URL and the connections to it. */
export class Target {
  readonly #pool: Pool;
  readonly #path: string;

  constructor(url: string, connections: number) {
    const { origin, pathname } = new URL(url);
    this.#pool = new Pool(origin, { connections, pipelining: 1 });
    this.#path = pathname;
  }

  async request(): Promise<void> {
    const { statusCode, body } = await this.#pool.request({ path: this.#path, method: 'GET' });
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`${this.#path}: ${statusCode} ${text}`);
  }

  /** Times in microseconds of requests one after the other. */
  async batch(count: number): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < count; i++) times.push(await this.#timed(performance.now()));
    return times;
  }

  /** Closed loop: `lanes` connections, each always busy. Gives requests a second and the times of all, in microseconds. */
  async load(lanes: number, durationMs: number): Promise<{ throughput: number; times: number[] }> {
    const start = performance.now();
    const times: number[] = [];
    const lane = async () => {
      while (performance.now() - start < durationMs)
        times.push(await this.#timed(performance.now()));
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return { throughput: times.length / ((performance.now() - start) / 1000), times };
  }

  /**
   * Open loop: requests at a steady rate, whether or not earlier ones were answered. A time counts from when its request
   * was due: a stall is seen by all requests that it held up.
   */
  async steady(perSecond: number, durationMs: number): Promise<number[]> {
    const start = performance.now();
    const count = Math.max(1, Math.floor((perSecond * durationMs) / 1000));
    const answers: Promise<number>[] = [];
    for (let sent = 0; sent < count; await new Promise((resolve) => setTimeout(resolve, 1))) {
      const due = Math.min(count, ((performance.now() - start) * perSecond) / 1000);
      if (due - sent > LATE_MAX) throw new Error('the client cannot keep the rate');
      for (; sent < due; sent++) answers.push(this.#timed(start + (sent * 1000) / perSecond));
    }
    return Promise.all(answers);
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  async #timed(start: number): Promise<number> {
    await this.request();
    return (performance.now() - start) * 1000;
  }
}
