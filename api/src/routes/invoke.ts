/** ANY /fn/{name}/...: an HTTP request becomes an invocation, its answer goes back as it is, both as they come. */
import { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { FRAME_LIMITS } from '@mayfly/protocol';
import type { InvocationRecord } from '@mayfly/protocol/api';
import type { Body } from '@mayfly/vmm';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError, errorAnswer, withoutPrivateDetails } from '../errors.js';
import { functionUrl, requestHeaders, responseHeaders } from '../headers.js';
import type { Invocation, InvocationRequest, Invoker, Target } from '../invoker.js';
import { requestBody } from '../request-body.js';
import { totalMs } from '../timing.js';
import { takeBodiesAsTheyAre, takeBodiesAsTheyCome } from './bodies.js';

type NameParams = { Params: { name: string } };

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** @param bytesMax the longest body of a request to a function */
export function invokeRoutes(app: FastifyInstance, invoker: Invoker, bytesMax: number): void {
  app.register(async (scope) => {
    takeBodiesAsTheyCome(scope);
    requestRoutes(scope, invoker, bytesMax);
  });
  app.register(async (scope) => {
    takeBodiesAsTheyAre(scope);
    eventRoutes(scope, invoker);
  });
}

function requestRoutes(app: FastifyInstance, invoker: Invoker, bytesMax: number): void {
  const handler = async (request: FastifyRequest<NameParams>, reply: FastifyReply) => {
    const target = targetOf(request.params.name);
    const message = request.body instanceof IncomingMessage ? request.body : undefined;
    const body = await requestBody(message, bytesMax);
    return send(reply, await timed(invoker, request, reply, target, httpRequest(request), body));
  };
  const errorHandler = (error: unknown, request: FastifyRequest, reply: FastifyReply) => {
    const { status, body, expected } = errorAnswer(error);
    if (!expected) request.log.error(error);
    // What is left of a body that nobody wants is not worth waiting for.
    if (status === 413) reply.header('connection', 'close');
    return reply.code(status).send(withoutPrivateDetails(body));
  };
  app.route<NameParams>({ method: METHODS, url: '/fn/:name', handler, errorHandler });
  app.route<NameParams>({ method: METHODS, url: '/fn/:name/*', handler, errorHandler });
}

function eventRoutes(app: FastifyInstance, invoker: Invoker): void {
  app.post<NameParams>('/v1/functions/:name/invocations', async (request, reply) => {
    const event = eventBytes(request.body);
    const { name } = request.params;
    const invocation = await timed(invoker, request, reply, { name }, { type: 'event' }, event);
    return record(name, invocation, request);
  });
}

/** Invokes, notes the times for Server-Timing, and gives up when the client does. */
async function timed(
  invoker: Invoker,
  request: FastifyRequest,
  reply: FastifyReply,
  target: Target,
  invocationRequest: InvocationRequest,
  body: Body,
): Promise<Invocation> {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort(new ApiError('MAYFLY_CLIENT_GONE'));
  });
  try {
    const invocation = await invoker.invoke(target, invocationRequest, body, gone.signal);
    request.timing.queueMicros = invocation.queueMicros;
    request.timing.guestMicros = invocation.guestMicros;
    return invocation;
  } catch (error) {
    if (error instanceof ApiError) {
      if (error.timing) Object.assign(request.timing, error.timing);
      if (error.retryAfterSeconds) reply.header('retry-after', error.retryAfterSeconds);
    }
    throw error;
  }
}

function httpRequest(request: FastifyRequest<NameParams>): InvocationRequest {
  const { rawHeaders, headers, url = '/', method = 'GET' } = request.raw;
  return {
    type: 'request',
    method,
    url: functionUrl(headers.host, targetBehindName(url)),
    headers: requestHeaders(rawHeaders, headers.connection),
  };
}

/** NAME or NAME@VERSION. @throws ApiError MAYFLY_VERSION_UNKNOWN */
function targetOf(text: string): Target {
  const [name = '', version, ...more] = text.split('@');
  if (version === undefined) return { name };
  if (/^[1-9]\d{0,8}$/.test(version) && more.length === 0)
    return { name, version: Number(version) };
  throw new ApiError('MAYFLY_VERSION_UNKNOWN', `"${text}" is not NAME@VERSION`);
}

/** '/fn/name/a?b' → '/a?b', '/fn/name?b' → '/?b': as the client wrote it, nothing decoded. */
function targetBehindName(url: string): string {
  const end = url.slice('/fn/'.length).search(/[/?]/);
  if (end < 0) return '/';
  const target = url.slice('/fn/'.length + end);
  return target.startsWith('/') ? target : `/${target}`;
}

function send(reply: FastifyReply, { head, body }: Invocation): FastifyReply {
  if (head.type !== 'response') throw new ApiError('MAYFLY_GUEST_ANSWER');
  reply.code(head.status).headers(responseHeaders(head.headers));
  if (!(body instanceof Uint8Array)) {
    return reply.send(Readable.from(body, { objectMode: false }));
  }
  const bodiless = head.status === 204 || head.status === 304 || body.byteLength === 0;
  return bodiless ? reply.send() : reply.send(body);
}

function eventBytes(body: unknown): Uint8Array {
  const bytes = body instanceof Uint8Array && body.byteLength > 0 ? body : Buffer.from('null');
  try {
    JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    const message = `the event is not JSON: ${(error as Error).message}`;
    throw new ApiError('MAYFLY_REQUEST_INVALID', message);
  }
  return bytes;
}

async function record(
  name: string,
  invocation: Invocation,
  { timing }: FastifyRequest,
): Promise<InvocationRecord> {
  const { id, version, receivedAt, head, end } = invocation;
  const body = await wholeBody(invocation.body);
  const { queueMicros, guestMicros, rewoundPages } = await end;
  const times = {
    queueMs: queueMicros / 1000,
    cloneMs: 0,
    guestMs: guestMicros / 1000,
    totalMs: Math.round(totalMs(timing) * 1000) / 1000,
  };
  const common = {
    id,
    function: name,
    version,
    status: 'succeeded' as const,
    trigger: 'event' as const,
    receivedAt,
    endedAt: new Date().toISOString(),
    timing: times,
    rewoundPages,
    logs: head.logs,
  };
  if (head.type === 'result') {
    return body.byteLength === 0 ? common : { ...common, result: resultOf(body) };
  }
  const { status, headers } = head;
  return { ...common, response: { status, headers, ...textOrBase64(body) } };
}

async function wholeBody(body: Body): Promise<Uint8Array> {
  if (body instanceof Uint8Array) return body;
  const bytesMax = FRAME_LIMITS.bodyBytesMax;
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.byteLength;
    if (bytes > bytesMax) {
      throw new ApiError(
        'MAYFLY_GUEST_ANSWER',
        `the guest's answer has more than ${bytesMax} bytes`,
      );
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function resultOf(body: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(body));
  } catch {
    throw new ApiError('MAYFLY_GUEST_ANSWER', 'the result of the guest is not JSON');
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function textOrBase64(body: Uint8Array): { body: string; bodyEncoding: 'utf8' | 'base64' } {
  try {
    return { body: utf8.decode(body), bodyEncoding: 'utf8' };
  } catch {
    return { body: Buffer.from(body).toString('base64'), bodyEncoding: 'base64' };
  }
}
