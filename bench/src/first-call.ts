/**
 * The first call of a function, which is what every clone's is: a fresh process of this host for each sample, without a machine. The floor
 * is the same process's tenth.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { nodeAgentPath, nodeFlags, nodePreloadPath } from '@mayfly/guest-agent';
import { encodeFrame, type Frame, FrameDecoder } from '@mayfly/protocol';
import type { Benchmark, Measurement } from './benchmark.js';
import { scaled } from './scale.js';
import { scratchFolder } from './templates.js';

const PROCESSES = 30;
const CALLS = 10;

/** What both do with an order; an ES module. */
const ORDERS = `import { randomUUID } from 'node:crypto';
class Item { constructor(price, count) { Object.assign(this, { price, count }); } get total() { return this.price * this.count; } }
const check = (order) => { if (!Array.isArray(order.items)) throw new TypeError('no items'); return order; };
const answer = (order, url) => {
  const currency = new URL(url).searchParams.get('currency');
  const total = check(order).items.map(({ price, count }) => new Item(price, count).total).reduce((a, b) => a + b, 0);
  return { id: randomUUID(), at: new Date().toISOString(), currency, total, text: total.toLocaleString('en') };
};`;

const FUNCTION = `${ORDERS}
export default { fetch: async (request) => Response.json(answer(await request.json(), request.url)) };`;

const SERVER = `import { createServer } from 'node:http';
${ORDERS}
const server = createServer(async (request, response) => {
  let text = '';
  request.setEncoding('utf8');
  for await (const piece of request) text += piece;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(answer(JSON.parse(text), 'http://localhost' + request.url)));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));`;

const PATH = '/orders?currency=EUR';
const BODY = Buffer.from('{"items":[{"price":250,"count":3},{"price":999,"count":2}]}');

/** A process that waits for its first call. */
interface Called {
  call(): Promise<void>;
  end(): Promise<void>;
}

function request(): Uint8Array {
  const now = Date.now();
  const head = {
    type: 'request',
    method: 'POST',
    url: `http://localhost${PATH}`,
    headers: [['content-type', 'application/json']],
    id: 'a',
    deadlineMs: now + 60_000,
    generation: 'a',
    entropy: Buffer.alloc(32, 7).toString('base64'),
    now,
  };
  return encodeFrame(head, BODY);
}

class Agent implements Called {
  readonly #child: ChildProcess;
  readonly #stream: Duplex;
  readonly #decoder = new FrameDecoder();

  static async start(module: string): Promise<Agent> {
    const agent = new Agent(module);
    await agent.#receive('ready');
    return agent;
  }

  private constructor(module: string) {
    this.#child = spawn(process.execPath, [...nodeFlags, nodeAgentPath], {
      env: { MAYFLY_AGENT_STREAM: 'fd:3', MAYFLY_FUNCTION: module },
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    });
    this.#stream = this.#child.stdio[3] as Duplex;
  }

  async #receive(type: string): Promise<void> {
    let frame: Frame | undefined = this.#decoder.next();
    for (; frame === undefined; frame = this.#decoder.next()) {
      const [chunk] = await once(this.#stream, 'data');
      this.#decoder.push(chunk);
    }
    if (frame.head.type !== type)
      throw new Error(`the agent answered ${JSON.stringify(frame.head)}`);
  }

  call(): Promise<void> {
    this.#stream.write(request());
    return this.#receive('response');
  }

  async end(): Promise<void> {
    this.#stream.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

/** Asked on a connection that it had before, as in a template. */
class Server implements Called {
  readonly #child: ChildProcess;
  readonly #socket: Socket;

  static async start(module: string): Promise<Server> {
    const args = [...nodeFlags, '--require', nodePreloadPath, module];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const [port] = await once(child.stdout, 'data');
    const socket = connect(Number(port), '127.0.0.1');
    await once(socket, 'connect');
    return new Server(child, socket);
  }

  private constructor(child: ChildProcess, socket: Socket) {
    this.#child = child;
    this.#socket = socket;
  }

  async call(): Promise<void> {
    const head = `POST ${PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${BODY.byteLength}\r\n\r\n`;
    this.#socket.write(Buffer.concat([Buffer.from(head), BODY]));
    let answer = '';
    while (!answer.endsWith('}')) answer += await once(this.#socket, 'data');
    if (!answer.startsWith('HTTP/1.1 200 ')) throw new Error(`the server answered ${answer}`);
  }

  async end(): Promise<void> {
    this.#socket.destroy();
    this.#child.kill();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

/** In microseconds. */
async function timed(called: Called): Promise<number> {
  const start = performance.now();
  await called.call();
  return (performance.now() - start) * 1000;
}

async function measure(
  source: string,
  start: (module: string) => Promise<Called>,
): Promise<Measurement> {
  const scratch = scratchFolder();
  const module = join(scratch.path, 'orders.mjs');
  writeFileSync(module, source);
  const samples: number[] = [];
  const floor: number[] = [];
  try {
    for (let i = 0; i < scaled(PROCESSES); i++) {
      const called = await start(module);
      samples.push(await timed(called));
      for (let call = 2; call < CALLS; call++) await called.call();
      floor.push(await timed(called));
      await called.end();
    }
    return { samples, floor };
  } finally {
    scratch.remove();
  }
}

export const firstCalls: readonly Benchmark[] = [
  {
    name: 'first-call',
    unit: 'us',
    about:
      'the first call of a Node.js function in a fresh process, as each clone has it; floor: the tenth',
    run: () => measure(FUNCTION, Agent.start),
  },
  {
    name: 'first-call-server',
    unit: 'us',
    about: 'the same of a server in Node.js that knows nothing of clones',
    run: () => measure(SERVER, Server.start),
  },
];
