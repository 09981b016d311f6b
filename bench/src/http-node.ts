import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Pool } from 'undici';
import type { Benchmark, Measurement } from './benchmark.js';
import type { ServerUrls } from './http-servers.js';
import { scaled } from './scale.js';

const SERVERS = fileURLToPath(new URL('./http-servers.js', import.meta.url));
const ROUNDS = 10;
const BATCH = 100;
const CONNECTIONS = 32;
const PROCESS_BATCH = 20;
const LOAD_MS = 3000;

/** One URL and the connections to it. */
class Target {
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
    for (let i = 0; i < count; i++) {
      const start = performance.now();
      await this.request();
      times.push((performance.now() - start) * 1000);
    }
    return times;
  }

  /** Requests per second over `lanes` connections, each always busy. */
  async load(lanes: number, durationMs: number): Promise<number> {
    const start = performance.now();
    let count = 0;
    const lane = async () => {
      for (; performance.now() - start < durationMs; count++) await this.request();
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return count / ((performance.now() - start) / 1000);
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

async function startServers(): Promise<{ child: ChildProcess; urls: ServerUrls }> {
  const child = fork(SERVERS, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the servers ended with exit code ${code}`);
  });
  const [urls] = await Promise.race([once(child, 'message'), ended]);
  ended.catch(() => {});
  return { child, urls: urls as ServerUrls };
}

async function measure(): Promise<Measurement> {
  const { child, urls } = await startServers();
  const [mayfly, plain] = [new Target(urls.mayfly, 1), new Target(urls.plain, 1)];
  const loaded = new Target(urls.mayfly, CONNECTIONS);
  try {
    await Promise.all([mayfly.batch(scaled(BATCH)), plain.batch(scaled(BATCH))]);
    const samples: number[] = [];
    const floor: number[] = [];
    for (let round = 0; round < scaled(ROUNDS); round++) {
      floor.push(...(await plain.batch(scaled(BATCH))));
      samples.push(...(await mayfly.batch(scaled(BATCH))));
    }
    await loaded.load(CONNECTIONS, scaled(LOAD_MS)); // the workers make as many clones as this load needs
    const throughput = await loaded.load(CONNECTIONS, scaled(LOAD_MS));
    return { samples, floor, throughput };
  } finally {
    await Promise.all([mayfly.close(), plain.close(), loaded.close()]);
    child.disconnect();
  }
}

async function measureProcess(): Promise<Measurement> {
  const { child, urls } = await startServers();
  const [one, loaded] = [new Target(urls.process, 1), new Target(urls.process, CONNECTIONS)];
  try {
    const samples = await one.batch(scaled(PROCESS_BATCH));
    const throughput = await loaded.load(CONNECTIONS, scaled(LOAD_MS));
    return { samples, throughput };
  } finally {
    await Promise.all([one.close(), loaded.close()]);
    child.disconnect();
  }
}

export const httpNodeProcess: Benchmark = {
  name: 'http-node-process',
  unit: 'us',
  about: 'the same function in a fresh node process a request, for comparison',
  run: measureProcess,
};

export const httpNode: Benchmark = {
  name: 'http-node',
  unit: 'us',
  about: 'a request to a Node.js function, each in its own clone; floor: plain Node.js server',
  run: measure,
};
