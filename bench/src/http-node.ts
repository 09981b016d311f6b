/** Functions over HTTP, each request in a clone of its own; the bare Node.js server in the same run is the floor. */
import type { Benchmark, Measurement } from './benchmark.js';
import { Target } from './http-client.js';
import { startServers } from './http-process.js';
import type { ServerUrls } from './http-servers.js';
import { scaled } from './scale.js';
import { quantile, rounded } from './statistics.js';

const ROUNDS = 10;
const BATCH = 100;
const CONNECTIONS = 32;
const LOAD_MS = 3000;
const PARK_CONNECTIONS = 200;
/** What the parking function waits. */
export const PARK_MS = 50;
const TAIL_MS = 60_000;
const TAIL_SHARE = 0.7;
/** Of a function that is scaled to zero after a second. */
const COLD_STARTS = 10;
const COLD_AFTER_MS = 2500;

/** Servers of one function for the time of `work`, which gets targets that are closed behind it. */
async function withServers<T>(
  name: string,
  work: (
    target: (name: keyof ServerUrls, connections: number) => Target,
    residentKiB: () => number,
  ) => Promise<T>,
): Promise<T> {
  const { urls, residentKiB, stop } = await startServers<ServerUrls>('./http-servers.js', [name]);
  const targets: Target[] = [];
  const target = (which: keyof ServerUrls, connections: number) => {
    const made = new Target(urls[which], connections);
    targets.push(made);
    return made;
  };
  try {
    return await work(target, residentKiB);
  } finally {
    await Promise.all(targets.map((made) => made.close()));
    await stop();
  }
}

function measureHello(name: string): Promise<Measurement> {
  return withServers(name, async (target) => {
    const [mayfly, plain, loaded] = [
      target('mayfly', 1),
      target('plain', 1),
      target('mayfly', CONNECTIONS),
    ];
    await Promise.all([mayfly.batch(scaled(BATCH)), plain.batch(scaled(BATCH))]);
    const samples: number[] = [];
    const floor: number[] = [];
    for (let round = 0; round < scaled(ROUNDS); round++) {
      floor.push(...(await plain.batch(scaled(BATCH))));
      samples.push(...(await mayfly.batch(scaled(BATCH))));
    }
    await loaded.load(CONNECTIONS, scaled(LOAD_MS)); // as many clones are made as this load needs
    const { throughput } = await loaded.load(CONNECTIONS, scaled(LOAD_MS));
    const floorP99 = rounded(quantile(floor, 0.99));
    return { samples, floor, throughput, details: { floorP99 } };
  });
}

function measureCold(): Promise<Measurement> {
  return withServers('cold', async (target) => {
    const cold = target('mayfly', 1);
    const samples: number[] = [];
    for (let i = 0; i < scaled(COLD_STARTS); i++) {
      await new Promise((resolve) => setTimeout(resolve, COLD_AFTER_MS));
      samples.push(...(await cold.batch(1)));
    }
    return { samples };
  });
}

function measurePark(): Promise<Measurement> {
  return withServers('park', async (target) => {
    const lanes = scaled(PARK_CONNECTIONS);
    const parked = target('mayfly', lanes);
    await parked.load(lanes, scaled(LOAD_MS));
    const { throughput, times } = await parked.load(lanes, scaled(LOAD_MS));
    return { samples: times, throughput, floor: [PARK_MS * 1000] };
  });
}

function measureTail(): Promise<Measurement> {
  return withServers('hello', async (target, residentKiB) => {
    const hello = target('mayfly', CONNECTIONS);
    await hello.load(CONNECTIONS, scaled(LOAD_MS));
    const { throughput } = await hello.load(CONNECTIONS, scaled(LOAD_MS));
    const before = residentKiB();
    const rate = throughput * TAIL_SHARE;
    const samples = await hello.steady(rate, scaled(TAIL_MS));
    const p999 = rounded(quantile(samples, 0.999));
    return { samples, throughput: rate, details: { p999, growthKiB: residentKiB() - before } };
  });
}

export const https: readonly Benchmark[] = [
  {
    name: 'http-node',
    unit: 'us',
    about: 'a request to a Node.js function, each in its own clone; floor: plain Node.js server',
    needs: 'kvm',
    run: () => measureHello('hello'),
  },
  {
    name: 'http-native',
    unit: 'us',
    about: 'the same of a static program in C, its answer its standard output',
    needs: 'kvm',
    run: () => measureHello('native'),
  },
  {
    name: 'http-cold',
    unit: 'us',
    about:
      'the first request to a function that was scaled to zero, its memory file in the page cache',
    needs: 'kvm',
    run: measureCold,
  },
  {
    name: 'http-park',
    unit: 'us',
    about: `${PARK_CONNECTIONS} requests at once to a function that waits ${PARK_MS} ms; floor: the wait`,
    needs: 'kvm',
    run: measurePark,
  },
  {
    name: 'http-tail',
    unit: 'us',
    about: 'requests for a minute at 70 % of the peak, timed from when they were due',
    needs: 'kvm',
    run: measureTail,
  },
];
