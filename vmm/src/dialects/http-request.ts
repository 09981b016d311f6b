/** An invocation's head as an HTTP/1.1 request (RFC 9112). */
import type { CallHead } from '@mayfly/protocol';

/**
 * How many bytes the body of a request has that comes piece by piece, if its client has said so: servers that know nothing
 * of chunks (Python's, most in C) can then read it.
 */
export function announcedBytes(head: CallHead): number | undefined {
  const lengths =
    head.type === 'event' ? [] : head.headers.filter(([name]) => name === 'content-length');
  const [, length = ''] = lengths[0] ?? [];
  return lengths.length === 1 && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

/** Start line and headers; `bodyBytes` undefined: the body comes in chunks. */
export function requestHead(head: CallHead, bodyBytes: number | undefined): Buffer {
  const { method, target, headers } = head.type === 'event' ? eventRequest : partsOf(head);
  let text = `${method} ${target} HTTP/1.1\r\n`;
  for (const [name, value] of headers) {
    // The framing is told below; a server that was asked to confirm would send what is no answer.
    if (name !== 'content-length' && name !== 'transfer-encoding' && name !== 'expect') {
      text += `${name}: ${value}\r\n`;
    }
  }
  if (bodyBytes === undefined) text += 'transfer-encoding: chunked\r\n';
  else if (bodyBytes > 0 || mayHaveBody(method)) text += `content-length: ${bodyBytes}\r\n`;
  return Buffer.from(`${text}\r\n`, 'latin1');
}

/** A piece of a body that comes in chunks; an empty one would end it. */
export function chunk(body: Uint8Array): Uint8Array {
  if (body.byteLength === 0) return body;
  return Buffer.concat([Buffer.from(`${body.byteLength.toString(16)}\r\n`), body, CRLF]);
}

const CRLF = Buffer.from('\r\n');
export const LAST_CHUNK = Buffer.from('0\r\n\r\n');

interface Parts {
  method: string;
  target: string;
  headers: [name: string, value: string][];
}

const eventRequest: Parts = {
  method: 'POST',
  target: '/',
  headers: [
    ['host', 'localhost'],
    ['content-type', 'application/json'],
  ],
};

function partsOf({ method, url, headers }: Exclude<CallHead, { type: 'event' }>): Parts {
  const hostAt = url.indexOf('://') + 3;
  const pathAt = url.indexOf('/', hostAt);
  const host: [string, string] = ['host', url.slice(hostAt, pathAt)];
  const hasHost = headers.some(([name]) => name === 'host');
  return { method, target: url.slice(pathAt), headers: hasHost ? headers : [host, ...headers] };
}

/** Of the request that it becomes. */
export const methodOf = (head: CallHead): string =>
  head.type === 'event' ? eventRequest.method : head.method;

const mayHaveBody = (method: string) => method !== 'GET' && method !== 'HEAD';
