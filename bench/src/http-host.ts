/** What a request costs outside of its guest: the whole server with guests that answer at once; floor: Node.js's own server. */
import type { Benchmark, Measurement } from './benchmark.js';
import { Target } from './http-client.js';
import { processorTime, startServers } from './http-process.js';
import type { ServerUrls } from './http-servers.js';
import { scaled } from './scale.js';
import { quantile, rounded } from './statistics.js';

const ROUNDS = 5;
const BATCH = 200;
const CONNECTIONS = 32;
const LOAD_MS = 2000;

/** Sums of several runs under load. */
interface Load {
  seconds: number;
  /** Microseconds of each request. */
  times: number[];
  /** Microseconds of processor time: the server's main thread, its other threads, the client. */
  main: number;
  others: number;
  client: number;
}

async function measure(): Promise<Measurement> {
  const {
    urls,
    processorTime: ofServer,
    stop,
  } = await startServers<ServerUrls>('./host-servers.js');
  const newLoad = (): Load => ({ seconds: 0, times: [], main: 0, others: 0, client: 0 });
  const sides = [urls.mayfly, urls.plain].map((url) => ({
    one: new Target(url, 1),
    many: new Target(url, CONNECTIONS),
    samples: [] as number[],
    load: newLoad(),
  }));
  const [mayfly, plain] = sides as [(typeof sides)[0], (typeof sides)[0]];

  const addLoad = async ({ many, load }: typeof mayfly) => {
    const [before, clientBefore] = [ofServer(), processorTime(process.pid)];
    const { throughput, times } = await many.load(CONNECTIONS, scaled(LOAD_MS));
    const [after, clientAfter] = [ofServer(), processorTime(process.pid)];
    load.seconds += times.length / throughput;
    load.times.push(...times);
    load.main += after.main - before.main;
    load.others += after.others - before.others;
    load.client += clientAfter.main - clientBefore.main + clientAfter.others - clientBefore.others;
  };

  try {
    for (const side of sides) await addLoad(side);
    for (const side of sides) side.load = newLoad(); // both are warm now
    for (let round = 0; round < scaled(ROUNDS); round++) {
      for (const side of sides) {
        side.samples.push(...(await side.one.batch(scaled(BATCH))));
        await addLoad(side);
      }
    }
    const { samples, load } = mayfly;
    const each = (micros: number, { times }: Load) => rounded(micros / times.length);
    return {
      samples,
      floor: plain.samples,
      throughput: load.times.length / load.seconds,
      details: {
        mainMicros: each(load.main, load),
        othersMicros: each(load.others, load),
        clientMicros: each(load.client, load),
        p99: rounded(quantile(load.times, 0.99)),
        plainThroughput: rounded(plain.load.times.length / plain.load.seconds),
        plainMicros: each(plain.load.main + plain.load.others, plain.load),
        plainP99: rounded(quantile(plain.load.times, 0.99)),
      },
    };
  } finally {
    await Promise.all(sides.flatMap(({ one, many }) => [one.close(), many.close()]));
    await stop();
  }
}

export const httpHost: Benchmark = {
  name: 'http-host',
  unit: 'us',
  about:
    'a request to a function whose guest answers at once: what the host does for it; floor: plain Node.js server',
  run: measure,
};
