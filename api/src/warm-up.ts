/** `warmup` of a manifest as the calls that are made of it. */
import { WARM_UP_ORIGIN, type WarmUpCall } from '@mayfly/protocol';
import type { FunctionSettings, WarmUp } from '@mayfly/protocol/api';
import { ApiError } from './errors.js';

/** They reach agents in a variable. */
const BYTES_MAX = 64 * 1024;

/** @throws ApiError MAYFLY_SOURCE_INVALID: more bytes than BYTES_MAX */
export function warmUpCalls({ warmup = false }: FunctionSettings): WarmUpCall[] {
  if (warmup === false) return [];
  const wanted = warmup === true ? ['/'] : Array.isArray(warmup) ? warmup : [warmup];
  const calls = wanted.map(callOf);
  const bytes = Buffer.byteLength(JSON.stringify(calls));
  if (bytes > BYTES_MAX) {
    const message = `warmup has ${bytes} bytes as JSON, at most ${BYTES_MAX} are allowed`;
    throw new ApiError('MAYFLY_SOURCE_INVALID', message);
  }
  return calls;
}

function callOf(wanted: WarmUp): WarmUpCall {
  if (typeof wanted === 'string') return callOf({ path: wanted });
  if ('event' in wanted) return { head: { type: 'event' }, body: JSON.stringify(wanted.event) };
  const { path = '/', body = '' } = wanted;
  const method = wanted.method ?? (body === '' ? 'GET' : 'POST');
  const isText = typeof body === 'string';
  const headers = new Map([
    ['host', 'localhost'],
    ['user-agent', 'mayfly-warmup'],
  ]);
  if (!isText) headers.set('content-type', 'application/json');
  for (const [name, value] of Object.entries(wanted.headers ?? {})) {
    headers.set(name.toLowerCase(), value);
  }
  return {
    head: { type: 'request', method, url: `${WARM_UP_ORIGIN}${path}`, headers: [...headers] },
    body: isText ? body : JSON.stringify(body),
  };
}
