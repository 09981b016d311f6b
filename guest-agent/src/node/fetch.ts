/** Calls a fetch function: a web Request in, a web Response out. */
import type { EventHead, RequestHead } from '@mayfly/protocol';
import type { InvocationContext } from './context.js';
import { FunctionError } from './failure.js';
import type { FetchFunction } from './load.js';
import type { Reply } from './reply.js';
import type { RequestBody } from './request-body.js';
import { textBodyOf } from './text-body.js';

export async function callFetch(
  call: FetchFunction,
  head: RequestHead | EventHead,
  body: RequestBody,
  context: InvocationContext,
): Promise<Reply> {
  const request = head.type === 'request' ? webRequest(head, body) : eventRequest(body);
  const response = await call(request, process.env, context);
  if (!(response instanceof Response) || response.status === 0) {
    throw new FunctionError(
      'FUNCTION_BAD_RESULT',
      `fetch must return a Response, it returned ${describe(response)}`,
    );
  }
  const { status } = response;
  const headers = [...response.headers];
  return { head: { type: 'response', status, headers }, body: bodyOf(response, request.method) };
}

function bodyOf(response: Response, method: string): Reply['body'] {
  const text = textBodyOf(response);
  if (text !== undefined) return Buffer.from(text);
  const { body } = response;
  if (body === null) return undefined;
  if (response.bodyUsed || body.locked) {
    throw new FunctionError('FUNCTION_BAD_RESULT', 'the body of the Response was read already');
  }
  if (method !== 'HEAD') return body;
  // Nobody will read it.
  body.cancel().catch(() => {});
  return undefined;
}

function webRequest(head: RequestHead, body: RequestBody): Request {
  const { method, headers } = head;
  if (method === 'GET' || method === 'HEAD') return new Request(head.url, { method, headers });
  const bytes = body.atHand;
  if (bytes?.byteLength === 0) return new Request(head.url, { method, headers });
  return new Request(head.url, { method, headers, ...bodyInit(body) });
}

/** `mayfly invoke` on a fetch function: the event becomes the body of a POST. */
function eventRequest(body: RequestBody): Request {
  const headers = { 'content-type': 'application/json' };
  return new Request('http://localhost/', { method: 'POST', headers, ...bodyInit(body) });
}

/** A stream wants `duplex: 'half'` (fetch standard, RequestInit). */
function bodyInit(body: RequestBody): RequestInit {
  const bytes = body.atHand;
  if (bytes) return { body: bytes };
  return { body: body.stream(), duplex: 'half' } as RequestInit;
}

function describe(value: unknown): string {
  if (value instanceof Response) return 'Response.error()';
  if (value === null || typeof value !== 'object') return String(value);
  return `an object of ${value.constructor?.name ?? 'no class'}`;
}
