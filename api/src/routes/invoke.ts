/** ANY /fn/{name}/...: an HTTP request becomes an invocation, its answer goes back as it is. */
import type { InvocationRecord } from '@mayfly/protocol/api';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError, errorAnswer, withoutPrivateDetails } from '../errors.js';
import { functionUrl, requestHeaders, responseHeaders } from '../headers.js';
import type { Invocation, InvocationRequest, Invoker, Target } from '../invoker.js';
import { totalMs } from '../timing.js';

type NameParams = { Params: { name: string } };

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const NO_BODY = new Uint8Array(0);

export function invokeRoutes(app: FastifyInstance, invoker: Invoker): void {
  const answer = async (request: FastifyRequest<NameParams>, reply: FastifyReply) => {
    const body = request.body instanceof Uint8Array ? request.body : NO_BODY;
    const { name } = request.params;
    const invocation = await timed(
      invoker,
      request,
      reply,
      targetOf(name),
      httpRequest(request),
      body,
    );
    return send(reply, invocation);
  };
  const errorHandler = (error: unknown, request: FastifyRequest, reply: FastifyReply) => {
    const { status, body, expected } = errorAnswer(error);
    if (!expected) request.log.error(error);
    return reply.code(status).send(withoutPrivateDetails(body));
  };
  app.route<NameParams>({ method: METHODS, url: '/fn/:name', handler: answer, errorHandler });
  app.route<NameParams>({ method: METHODS, url: '/fn/:name/*', handler: answer, errorHandler });

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
  body: Uint8Array,
): Promise<Invocation> {
  const gone = new AbortController();
  const onClose = () => gone.abort(new ApiError('MAYFLY_CLIENT_GONE'));
  reply.raw.once('close', onClose);
  try {
    const invocation = await invoker.invoke(target, invocationRequest, body, gone.signal);
    request.timing.queueMicros = invocation.queueMicros;
    request.timing.guestMicros = invocation.guestMicros;
    return invocation;
  } catch (error) {
    if (error instanceof ApiError && error.timing) Object.assign(request.timing, error.timing);
    throw error;
  } finally {
    reply.raw.off('close', onClose);
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

function record(
  name: string,
  invocation: Invocation,
  { timing }: FastifyRequest,
): InvocationRecord {
  const { id, version, receivedAt, head, body, queueMicros, guestMicros, rewoundPages } =
    invocation;
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
