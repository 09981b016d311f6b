/** Headers between client and function: everything goes through but what belongs to one connection (RFC 9110, 7.6.1). */
import type { IncomingHttpHeaders } from 'node:http';
import { ApiError } from './errors.js';

const HOP_BY_HOP = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

type Pair = [name: string, value: string];

/**
 * @param rawHeaders as in IncomingMessage: name, value, name, value, ...
 * @throws ApiError MAYFLY_REQUEST_INVALID for a second Host (RFC 9112, 3.2)
 */
export function requestHeaders(rawHeaders: string[], connection: string | undefined): Pair[] {
  const named = connectionOptions(connection);
  const pairs: Pair[] = [];
  let hosts = 0;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    if (name === 'host' && ++hosts > 1) throw new ApiError('MAYFLY_REQUEST_INVALID', 'two hosts');
    if (!HOP_BY_HOP.has(name) && !named?.has(name)) pairs.push([name, rawHeaders[i + 1] as string]);
  }
  return pairs;
}

/** The server counts the body itself, so the function's content-length is dropped too. */
export function responseHeaders(pairs: Pair[]): Record<string, string | string[]> {
  // Without a prototype: `constructor` is a header name like any other.
  const headers: Record<string, string | string[]> = Object.create(null);
  for (const [name, value] of pairs) {
    if (HOP_BY_HOP.has(name) || name === 'content-length') continue;
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else headers[name] = Array.isArray(before) ? [...before, value] : [before, value];
  }
  return headers;
}

/**
 * The absolute URL as the function shall see it.
 *
 * @param target path and query, from the first slash
 */
export function functionUrl(host: IncomingHttpHeaders['host'], target: string): string {
  // A Host header is the client's word; one that does not fit a URL would make the function's Request throw.
  const usable = host !== undefined && /^(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?$/.test(host);
  return `http://${usable ? host : 'localhost'}${target}`;
}

/** `Connection: close, x-mine` names headers that end here as well; nearly every request has only keep-alive or close. */
function connectionOptions(connection: string | undefined): Set<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') {
    return undefined;
  }
  return new Set(connection.split(',').map((option) => option.trim().toLowerCase()));
}
