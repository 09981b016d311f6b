/** The trace of an invocation: what is noted of it while it runs, and the record that the API makes of it. */
import { FRAME_LIMITS, type LogLine, type ResponseHead, type ResultHead } from '@mayfly/protocol';
import type { InvocationRecord } from '@mayfly/protocol/api';
import type { Body, InvokeStats, MachineFailure } from '@mayfly/vmm';
import { ApiError, errorAnswer, type InvokeTook } from './errors.js';
import { parseJson } from './json.js';
import type { Trace } from './store/invocations.js';

const LOG_LINES_MAX = 300;
const LOG_CHARS_MAX = 64 * 1024;
/** Of a result or a body that is kept with the record. */
const RESULT_BYTES_MAX = 256 * 1024;

export type { Trace };

export function recordOf({
  receivedMs,
  endedMs,
  attempts,
  deployedAt,
  eventBytes,
  ...rest
}: Trace): InvocationRecord {
  const record = { ...rest, receivedAt: new Date(receivedMs).toISOString() };
  return endedMs === undefined ? record : { ...record, endedAt: new Date(endedMs).toISOString() };
}

/** Keeps the first lines; all of them are in the log of the function. */
export function keepLines(trace: Trace, lines: readonly LogLine[]): void {
  let chars = trace.logs.reduce((sum, { text }) => sum + text.length, 0);
  for (const line of lines) {
    chars += line.text.length;
    if (trace.logs.length >= LOG_LINES_MAX || chars > LOG_CHARS_MAX) return;
    trace.logs.push(line);
  }
}

export function noteSuccess(trace: Trace, stats: InvokeStats, startMs: number): void {
  trace.status = 'succeeded';
  noteEnd(trace, stats, startMs);
}

export function noteFailure(trace: Trace, error: unknown, took: InvokeTook, startMs: number): void {
  const { logs: _, ...body } = errorAnswer(error).body;
  trace.status = 'failed';
  trace.error = body;
  noteEnd(trace, took, startMs);
}

/** What an invocation took that ended with this error, if it had begun. */
export function tookOf(error: unknown): InvokeTook | undefined {
  if (error instanceof ApiError) return error.timing;
  return (error as Partial<MachineFailure>).stats;
}

function noteEnd(
  trace: Trace,
  { queueMicros, cloneMicros = 0, guestMicros, rewoundPages, faults, network }: InvokeTook,
  startMs: number,
): void {
  if (rewoundPages !== undefined) trace.rewoundPages = rewoundPages;
  if (faults !== undefined) trace.faults = faults;
  if (network) trace.network = network;
  trace.endedMs = Date.now();
  trace.timing = {
    queueMs: Math.max(0, queueMicros - cloneMicros) / 1000,
    cloneMs: cloneMicros / 1000,
    guestMs: guestMicros / 1000,
    totalMs: Math.round((performance.now() - startMs) * 1000) / 1000,
  };
}

/** What an event gave, as far as it is not too long to be kept. */
export function outcomeOf(
  head: ResponseHead | ResultHead,
  body: Uint8Array,
): Pick<InvocationRecord, 'result' | 'response'> {
  if (head.type === 'result') return body.byteLength === 0 ? {} : { result: resultOf(body) };
  const { status, headers } = head;
  return { response: { status, headers, ...textOrBase64(body) } };
}

export function withoutLongOutcome(trace: Trace, bytes: number): Trace {
  if (bytes <= RESULT_BYTES_MAX) return trace;
  const { result: _, response, ...rest } = trace;
  if (!response) return rest;
  const { status, headers } = response;
  return { ...rest, response: { status, headers } };
}

/** @throws ApiError MAYFLY_GUEST_ANSWER */
export async function wholeBody(body: Body): Promise<Uint8Array> {
  if (body instanceof Uint8Array) return body;
  const bytesMax = FRAME_LIMITS.bodyBytesMax;
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.byteLength;
    if (bytes > bytesMax) {
      const message = `the guest's answer has more than ${bytesMax} bytes`;
      throw new ApiError('MAYFLY_GUEST_ANSWER', message);
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function resultOf(body: Uint8Array): unknown {
  try {
    return parseJson(body);
  } catch (error) {
    const message = `the result of the guest is ${(error as Error).message}`;
    throw new ApiError('MAYFLY_GUEST_ANSWER', message);
  }
}

function textOrBase64(body: Uint8Array): { body: string; bodyEncoding: 'utf8' | 'base64' } {
  try {
    return { body: utf8.decode(body), bodyEncoding: 'utf8' };
  } catch {
    return { body: Buffer.from(body).toString('base64'), bodyEncoding: 'base64' };
  }
}
