/**
 * The first invocation of an agent, which is what every clone's is: a fresh process of this host for each sample, without a machine. The
 * floor is the same process's tenth.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { nodeAgentFlags, nodeAgentPath } from '@mayfly/guest-agent';
import { encodeFrame, type Frame, FrameDecoder } from '@mayfly/protocol';
import type { Benchmark, Measurement } from './benchmark.js';
import { scaled } from './scale.js';
import { scratchFolder } from './templates.js';

const PROCESSES = 30;
const CALLS = 10;

const FUNCTION = `import { randomUUID } from 'node:crypto';
class Item { constructor(price, count) { Object.assign(this, { price, count }); } get total() { return this.price * this.count; } }
const check = (order) => { if (!Array.isArray(order.items)) throw new TypeError('no items'); return order; };
export default { async fetch(request) {
  const { items } = check(await request.json());
  const currency = new URL(request.url).searchParams.get('currency');
  const total = items.map(({ price, count }) => new Item(price, count).total).reduce((a, b) => a + b, 0);
  return Response.json({ id: randomUUID(), at: new Date().toISOString(), currency, total, text: total.toLocaleString('en') });
} };`;

const BODY = Buffer.from('{"items":[{"price":250,"count":3},{"price":999,"count":2}]}');

function request(): Uint8Array {
  const now = Date.now();
  const head = {
    type: 'request',
    method: 'POST',
    url: 'http://localhost/orders?currency=EUR',
    headers: [['content-type', 'application/json']],
    id: 'a',
    deadlineMs: now + 60_000,
    generation: 'a',
    entropy: Buffer.alloc(32, 7).toString('base64'),
    now,
  };
  return encodeFrame(head, BODY);
}

class Agent {
  readonly #child: ChildProcess;
  readonly #stream: Duplex;
  readonly #decoder = new FrameDecoder();

  constructor(module: string) {
    this.#child = spawn(process.execPath, [...nodeAgentFlags, nodeAgentPath], {
      env: { MAYFLY_AGENT_STREAM: 'fd:3', MAYFLY_FUNCTION: module },
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    });
    this.#stream = this.#child.stdio[3] as Duplex;
  }

  async receive(type: string): Promise<void> {
    let frame: Frame | undefined = this.#decoder.next();
    for (; frame === undefined; frame = this.#decoder.next()) {
      const [chunk] = await once(this.#stream, 'data');
      this.#decoder.push(chunk);
    }
    if (frame.head.type !== type)
      throw new Error(`the agent answered ${JSON.stringify(frame.head)}`);
  }

  /** Microseconds until the answer is here. */
  async call(): Promise<number> {
    const start = performance.now();
    this.#stream.write(request());
    await this.receive('response');
    return (performance.now() - start) * 1000;
  }

  async end(): Promise<void> {
    this.#stream.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

async function measure(): Promise<Measurement> {
  const scratch = scratchFolder();
  const module = join(scratch.path, 'orders.mjs');
  writeFileSync(module, FUNCTION);
  const samples: number[] = [];
  const floor: number[] = [];
  try {
    for (let i = 0; i < scaled(PROCESSES); i++) {
      const agent = new Agent(module);
      await agent.receive('ready');
      samples.push(await agent.call());
      for (let call = 2; call < CALLS; call++) await agent.call();
      floor.push(await agent.call());
      await agent.end();
    }
    return { samples, floor };
  } finally {
    scratch.remove();
  }
}

export const firstCall: Benchmark = {
  name: 'first-call',
  unit: 'us',
  about:
    'the first call of a Node.js function in a fresh process, as each clone has it; floor: the tenth',
  run: measure,
};
