/**
 * Before the template is captured: walk the path of an invocation often enough that what Node loads and compiles lazily
 * (the fetch classes above all) is in the template, and no clone pays for it: 60 ms without. The user's code is not
 * called, hooks included: it must see one invocation only, in a clone.
 */
import { stat } from 'node:fs/promises';
import {
  decodeWholeFrame,
  encodeFrame,
  encodeFrameInto,
  type Frame,
  type HostHead,
} from '@mayfly/protocol';
import { Channel } from './channel.js';
import { takeLogs } from './console.js';
import { errorHead } from './failure.js';
import { call } from './invoke.js';
import type { UserFunction } from './load.js';
import { seedRandom } from './unique.js';

/** More rounds do not make the first invocation of a clone faster, they only make booting slower. */
const ROUNDS = 20;

const text = '{"mayfly":"warm"}';
const ENTROPY = Buffer.alloc(32, 1).toString('base64');
const room = Buffer.alloc(4096);
const nowhere = new Channel({
  write: (head, body) => void encodeFrameInto(room, head, body),
  readLater: async () => ({ head: { type: 'chunk', end: true }, body: Buffer.from(text) }),
});

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
  for (let round = 0; round < ROUNDS; round++) {
    seedRandom(Buffer.from(ENTROPY, 'base64'));
    for (const frame of [request('GET', ''), request('POST', text), event()]) {
      for (const user of [fetchFunction, handler]) await warm(user, frame);
    }
    await warm(echo, request('POST', text, { more: true }));
  }
  errorHead(new Error('warm'));
  await stat('/'); // Starts the threads that files and chunks are read with.
  await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setImmediate(resolve));
  takeLogs();
}

function warm(user: UserFunction, frame: Frame): Promise<void> {
  return call(user, frame.head as unknown as HostHead, frame.body, nowhere);
}

function request(method: string, body: string, more?: { more: true }): Frame {
  const url = 'http://localhost/warm/up?a=1';
  const headers: [string, string][] = [
    ['host', 'localhost'],
    ['user-agent', 'mayfly'],
    ['content-type', 'application/json'],
  ];
  return transported({ ...invocation(), type: 'request', method, url, headers, ...more }, body);
}

function event(): Frame {
  return transported({ ...invocation(), type: 'event' }, text);
}

function invocation() {
  const now = Date.now();
  return { id: 'warm', deadlineMs: now + 1000, generation: 'warm', entropy: ENTROPY, now };
}

function transported(head: HostHead, body: string): Frame {
  return decodeWholeFrame(Buffer.from(encodeFrame(head, Buffer.from(body)))) as Frame;
}
