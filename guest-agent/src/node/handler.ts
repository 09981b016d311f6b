/**
 * Calls a handler. For an HTTP request the event is {method, path, query, headers, body, isBase64Encoded}; what comes
 * back is {statusCode, headers, body, isBase64Encoded} or any other value, which is sent as JSON. For a plain event,
 * event and result are JSON and nothing else.
 */
import type { EventHead, RequestHead } from '@mayfly/protocol';
import type { InvocationContext } from './context.js';
import { FunctionError } from './failure.js';
import type { HandlerFunction } from './load.js';
import type { Reply } from './reply.js';
import type { RequestBody } from './request-body.js';

export interface HttpEvent {
  method: string;
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  /** Text if the bytes are UTF-8, otherwise base64. */
  body: string;
  isBase64Encoded: boolean;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

export async function callHandler(
  call: HandlerFunction,
  head: RequestHead | EventHead,
  body: RequestBody,
  context: InvocationContext,
): Promise<Reply> {
  const bytes = body.atHand ?? (await body.whole());
  if (head.type === 'event') {
    const result = await call(JSON.parse(utf8.decode(bytes)), context);
    return { head: { type: 'result' }, body: jsonBytes(result) };
  }
  return httpReply(await call(httpEvent(head, bytes), context));
}

function httpEvent(head: RequestHead, body: Uint8Array): HttpEvent {
  const pathStart = head.url.indexOf('/', head.url.indexOf('://') + 3);
  const queryStart = head.url.indexOf('?', pathStart);
  const path = head.url.slice(pathStart, queryStart < 0 ? undefined : queryStart);
  const query =
    queryStart < 0 ? {} : Object.fromEntries(new URLSearchParams(head.url.slice(queryStart)));
  const headers: Record<string, string> = {};
  for (const [name, value] of head.headers) {
    const before = Object.hasOwn(headers, name) ? headers[name] : undefined;
    headers[name] = before === undefined ? value : `${before}, ${value}`;
  }
  return { method: head.method, path, query, headers, ...textOrBase64(body) };
}

function textOrBase64(bytes: Uint8Array): Pick<HttpEvent, 'body' | 'isBase64Encoded'> {
  if (bytes.byteLength === 0) return { body: '', isBase64Encoded: false };
  try {
    return { body: utf8.decode(bytes), isBase64Encoded: false };
  } catch {
    return { body: Buffer.from(bytes).toString('base64'), isBase64Encoded: true };
  }
}

function httpReply(result: unknown): Reply {
  if (result === undefined) return { head: { type: 'response', status: 204, headers: [] } };
  if (!isHttpResult(result)) {
    const headers: [string, string][] = [['content-type', 'application/json']];
    return { head: { type: 'response', status: 200, headers }, body: jsonBytes(result) };
  }
  const status = result.statusCode;
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new FunctionError('FUNCTION_BAD_RESULT', `statusCode ${status} is not in 200..599`);
  }
  const headers = headerPairs(result.headers);
  return { head: { type: 'response', status, headers }, body: bodyBytes(result) };
}

interface HttpResult {
  statusCode: number;
  headers?: Record<string, unknown>;
  body?: unknown;
  isBase64Encoded?: boolean;
}

function isHttpResult(result: unknown): result is HttpResult {
  return typeof (result as HttpResult | null)?.statusCode === 'number';
}

function headerPairs(headers: Record<string, unknown> | undefined): [string, string][] {
  const pairs: [string, string][] = [];
  for (const [name, value] of Object.entries(headers ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) pairs.push([name, String(one)]);
  }
  return pairs;
}

function bodyBytes({ body, isBase64Encoded }: HttpResult): Uint8Array | undefined {
  if (body === undefined || body === null) return undefined;
  if (typeof body === 'string') return Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8');
  if (body instanceof Uint8Array) return body;
  throw new FunctionError('FUNCTION_BAD_RESULT', 'body must be a string or a Uint8Array');
}

/** undefined, functions and symbols have no JSON; at the top they become no bytes. */
function jsonBytes(value: unknown): Uint8Array | undefined {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FunctionError('FUNCTION_BAD_RESULT', `the result has no JSON: ${why}`, { cause });
  }
  return json === undefined ? undefined : Buffer.from(json);
}
