/**
 * Sends an answer. What is at hand goes in one frame with its head; a stream's body becomes chunks as soon as it has to be
 * waited for, so that whoever reads the answer sees what there is.
 */
import { CHUNK_BYTES } from '@mayfly/protocol';
import type { Channel } from './channel.js';
import { flushLogs, takeLogs } from './console.js';
import type { Background } from './context.js';
import { FunctionError } from './failure.js';
import type { Reply } from './reply.js';

/** Longer bodies travel in chunks: neither side then has to hold all of one. */
const AT_ONCE_MAX = 1024 * 1024;
/** A stream that never makes anybody wait gives the function's timers a turn after so much. */
const TURN_BYTES = 4 * CHUNK_BYTES;
const NOTHING = new Uint8Array(0);

/**
 * Resolves when the host has all of it, with whether it was told that the invocation goes on. Rejects with what the
 * body's stream throws.
 */
export async function sendAnswer(
  channel: Channel,
  { head, body = NOTHING }: Reply,
  background: Background,
): Promise<boolean> {
  const start = body instanceof ReadableStream ? await startOf(body) : { bytes: body };
  const isWhole = start.rest === undefined && start.bytes.byteLength <= AT_ONCE_MAX;
  if (!isWhole) {
    channel.write({ ...head, logs: takeLogs(), more: true });
    await sendChunks(channel, start.bytes);
    for await (const piece of start.rest ?? []) await sendChunks(channel, piece);
    flushLogs();
  }
  const ending = background.pending ? { pending: true as const } : undefined;
  if (isWhole) channel.write({ ...head, logs: takeLogs(), ...ending }, start.bytes);
  else channel.write({ type: 'chunk', end: true, ...ending });
  return ending !== undefined;
}

interface Start {
  bytes: Uint8Array;
  /** What was not at hand. */
  rest?: AsyncIterable<Uint8Array>;
}

/** What a stream gives within a turn of the event loop; usually all. */
async function startOf(body: ReadableStream<unknown>): Promise<Start> {
  const reader = body.getReader();
  const turn = nextTurn();
  const pieces: Uint8Array[] = [];
  for (let size = 0; ; ) {
    const read = reader.read();
    const next = size > AT_ONCE_MAX ? undefined : await Promise.race([read, turn]);
    if (next === undefined) return { bytes: Buffer.concat(pieces), rest: restOf(reader, read) };
    if (next.done) return { bytes: Buffer.concat(pieces) };
    const piece = checked(next.value);
    pieces.push(piece);
    size += piece.byteLength;
  }
}

type Reader = ReadableStreamDefaultReader<unknown>;

async function* restOf(
  reader: Reader,
  read: ReturnType<Reader['read']>,
): AsyncGenerator<Uint8Array> {
  let given = 0;
  for (let next = await read; !next.done; next = await reader.read()) {
    const piece = checked(next.value);
    yield piece;
    given += piece.byteLength;
    if (given < TURN_BYTES) continue;
    given = 0;
    await nextTurn();
  }
}

async function sendChunks(channel: Channel, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength; at += CHUNK_BYTES) {
    if (at > 0 && at % TURN_BYTES === 0) await nextTurn();
    channel.write({ type: 'chunk' }, bytes.subarray(at, at + CHUNK_BYTES));
  }
}

function checked(piece: unknown): Uint8Array {
  if (piece instanceof Uint8Array) return piece;
  const what = piece === null ? 'null' : typeof piece;
  const message = `the stream of a body must give Uint8Array, it gave ${what}`;
  throw new FunctionError('FUNCTION_BAD_RESULT', message);
}

function nextTurn(): Promise<undefined> {
  return new Promise((resolve) => setImmediate(resolve, undefined));
}
