/** Calls a fetch function: a web Request in, a web Response out. */
import type { EventHead, Frame, RequestHead } from '@mayfly/protocol';
import { FunctionError } from './failure.js';
import type { FetchFunction, InvocationContext } from './load.js';
import type { Reply } from './reply.js';
import { textBodyOf } from './text-body.js';

export async function callFetch(
  call: FetchFunction,
  head: RequestHead | EventHead,
  body: Frame['body'],
  context: InvocationContext,
): Promise<Reply> {
  const request = head.type === 'request' ? webRequest(head, body) : eventRequest(body);
  const response = await call(request, context);
  if (!(response instanceof Response) || response.status === 0) {
    throw new FunctionError(
      'FUNCTION_BAD_RESULT',
      `fetch must return a Response, it returned ${describe(response)}`,
    );
  }
  const { status } = response;
  const headers = [...response.headers];
  return { head: { type: 'response', status, headers }, body: await bytesOf(response) };
}

async function bytesOf(response: Response): Promise<Uint8Array | undefined> {
  const text = textBodyOf(response);
  if (text !== undefined) return Buffer.from(text);
  return response.body ? new Uint8Array(await response.arrayBuffer()) : undefined;
}

function webRequest(head: RequestHead, body: Frame['body']): Request {
  const hasBody = body.byteLength > 0 && head.method !== 'GET' && head.method !== 'HEAD';
  return new Request(head.url, {
    method: head.method,
    headers: head.headers,
    ...(hasBody ? { body } : undefined),
  });
}

/** `mayfly invoke` on a fetch function: the event becomes the body of a POST. */
function eventRequest(body: Frame['body']): Request {
  const headers = { 'content-type': 'application/json' };
  return new Request('http://localhost/', { method: 'POST', headers, body });
}

function describe(value: unknown): string {
  if (value instanceof Response) return 'Response.error()';
  if (value === null || typeof value !== 'object') return String(value);
  return `an object of ${value.constructor?.name ?? 'no class'}`;
}
