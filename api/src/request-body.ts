/** The body of an HTTP request, as the pool takes it: small ones whole, others as they come. */
import type { IncomingMessage } from 'node:http';
import type { Body } from '@mayfly/vmm';
import { ApiError } from './errors.js';

/** Bodies that say that they are no longer are read before the invocation starts: it is one message then. */
const AT_HAND_MAX = 256 * 1024;
const NO_BODY = new Uint8Array(0);

/**
 * Of any request that says that it has one, that of a GET included.
 *
 * @param bytesMax the longest body
 * @throws ApiError MAYFLY_BODY_TOO_LARGE; a body that comes piece by piece throws it when it gets too long
 */
export async function requestBody(message: IncomingMessage, bytesMax: number): Promise<Body> {
  const { 'content-length': said, 'transfer-encoding': coding } = message.headers;
  if (coding === undefined && (said === undefined || Number(said) === 0)) return NO_BODY;
  const length = Number(said ?? Number.NaN);
  if (length > bytesMax) throw tooLarge(bytesMax);
  const pieces = bounded(message, bytesMax);
  if (!(length <= AT_HAND_MAX)) return pieces;
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return all.length === 1 ? (all[0] as Uint8Array) : Buffer.concat(all);
}

async function* bounded(
  message: IncomingMessage,
  bytesMax: number,
): AsyncGenerator<Uint8Array, void> {
  let bytes = 0;
  // Whoever stops reading early may still want to answer on the same connection.
  for await (const piece of message.iterator({ destroyOnReturn: false })) {
    bytes += (piece as Uint8Array).byteLength;
    if (bytes > bytesMax) throw tooLarge(bytesMax);
    yield piece as Uint8Array;
  }
}

function tooLarge(bytesMax: number): ApiError {
  const message = `the body of the request has more than ${bytesMax} bytes`;
  return new ApiError('MAYFLY_BODY_TOO_LARGE', message);
}
