/**
 * Before the template is captured: walk the path of an invocation often enough that what Node loads and compiles lazily
 * (the fetch classes above all) is in the template, and no clone pays for it: 60 ms without. The user's code is not
 * called, hooks included: unless it asks for it, it sees one invocation only, in a clone.
 */
import {
  decodeWholeFrame,
  encodeFrame,
  encodeFrameInto,
  type Frame,
  type HostHead,
  type LogLine,
  nameOfWarmUp,
  type WarmUpCall,
} from '@mayfly/protocol';
import { Channel, type Wire } from './channel.js';
import { takeLogs } from './console.js';
import { errorHead, FunctionError, messageOf } from './failure.js';
import { call } from './invoke.js';
import type { UserFunction } from './load.js';
import { turn } from './turn.js';
import { withoutHooks } from './unique.js';

/** More rounds do not make the first invocation of a clone faster, they only make booting slower. */
const ROUNDS = 20;

/** A status from here on says that the function, or the path, is not what was meant. */
const FAILED_FROM = 400;

const text = '{"mayfly":"warm"}';
const ENTROPY = Buffer.alloc(32, 1).toString('base64');
const room = Buffer.alloc(4096);
const nowhere: Wire = {
  write: (head, body) => {
    if ('code' in head) throw new Error(`the warm-up failed: ${JSON.stringify(head)}`);
    encodeFrameInto(room, head, body);
  },
  read: () => undefined,
  readLater: async () => ({ head: { type: 'chunk', end: true }, body: Buffer.from(text) }),
};

const fetchFunction: UserFunction = {
  exports: 'fetch',
  call: async (request) => {
    const url = new URL(request.url);
    const seen = await request.text();
    console.log('warm %s', url.pathname, { headers: request.headers.get('host') });
    return seen ? Response.json(JSON.parse(seen)) : new Response(text, { headers: { etag: '1' } });
  },
};

const handler: UserFunction = {
  exports: 'handler',
  call: (event) => {
    console.log('warm', event);
    return (event as { method?: string }).method === 'GET'
      ? { statusCode: 200, body: text }
      : event;
  },
};

const echo: UserFunction = {
  exports: 'fetch',
  call: (request) => new Response(request.body, { status: 201 }),
};

/** Resolves when the same frames as in an invocation went through the same code, both ways. */
export async function warmUp(): Promise<void> {
  await withoutHooks(async () => {
    for (let round = 0; round < ROUNDS; round++) await walk();
  });
  errorHead(new Error('warm'));
  takeLogs();
}

async function walk(): Promise<void> {
  for (const env of [undefined, {}]) {
    for (const frame of [request('GET', '', { env }), request('POST', text, { env }), event(env)]) {
      for (const user of [fetchFunction, handler]) await turn(nowhere, user, frame);
    }
  }
  await turn(nowhere, echo, request('POST', text, { more: true }));
}

/**
 * Calls the user's function, because its `warmup` asks for it. Gives the lines that it logged.
 *
 * @throws FunctionError FUNCTION_WARMUP; what the function throws
 */
export async function warmUpFunction(user: UserFunction, wanted: WarmUpCall): Promise<LogLine[]> {
  const logs: LogLine[] = [];
  let status = 0;
  const channel = new Channel({
    write: (head) => {
      if ('logs' in head) logs.push(...(head.logs as LogLine[]));
      if ('status' in head) status = head.status as number;
    },
    read: () => undefined,
    readLater: async () => undefined,
  });
  const head = { ...wanted.head, ...invocation() };
  const what = `${nameOfWarmUp(wanted)}, which is to warm the function up,`;
  try {
    await call(user, head, Buffer.from(wanted.body), channel);
  } catch (cause) {
    if (cause instanceof FunctionError) throw cause;
    throw new FunctionError('FUNCTION_THREW', `${what} failed: ${messageOf(cause)}`, { cause });
  }
  if (status < FAILED_FROM) return logs;
  throw new FunctionError('FUNCTION_WARMUP', `${what} was answered with ${status}`);
}

/** Heads have their members in the host's order: for V8, another order is an object of another shape. */
function request(method: string, body: string, rest: Pick<HostHead, 'env' | 'more'>): Frame {
  const url = 'http://localhost/warm/up?a=1';
  const headers: [string, string][] = [
    ['host', 'localhost'],
    ['user-agent', 'mayfly'],
    ['content-type', 'application/json'],
  ];
  return transported({ type: 'request', method, url, headers, ...invocation(), ...rest }, body);
}

function event(env: HostHead['env']): Frame {
  return transported({ type: 'event', ...invocation(), env }, text);
}

function invocation() {
  const now = Date.now();
  return { id: 'warm', deadlineMs: now + 60_000, generation: 'warm', entropy: ENTROPY, now };
}

function transported(head: HostHead, body: string): Frame {
  return decodeWholeFrame(Buffer.from(encodeFrame(head, Buffer.from(body)))) as Frame;
}
