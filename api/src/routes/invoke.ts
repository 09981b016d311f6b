/** ANY /fn/{name}/...: an HTTP request becomes an invocation, its answer goes back as it is, both as they come. */
import { METHODS as ALL_METHODS } from 'node:http';
import { Readable } from 'node:stream';
import type { Body } from '@mayfly/vmm';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError, withoutPrivateDetails } from '../errors.js';
import { functionUrl, requestHeaders, responseHeaders } from '../headers.js';
import type { Invocation, InvocationRequest, Invoker, Target } from '../invoker.js';
import { requestBody } from '../request-body.js';
import { takeBodiesAsTheyCome } from './bodies.js';
import { answerTo } from './errors.js';
import { announce, clientGone } from './invocation.js';

type NameParams = { Params: { name: string } };

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
/** Those of WebDAV and the like. CONNECT and TRACE are about the way to a server, and the web's Request has no such. */
const OTHER_METHODS = ALL_METHODS.filter(
  (method) => !METHODS.includes(method) && method !== 'CONNECT' && method !== 'TRACE',
);

/** @param bytesMax the longest body of a request to a function */
export function invokeRoutes(app: FastifyInstance, invoker: Invoker, bytesMax: number): void {
  takeBodiesAsTheyCome(app);
  const handler = async (request: FastifyRequest<NameParams>, reply: FastifyReply) => {
    const target = targetOf(request.params.name);
    refuseUpgrade(request);
    invoker.check(target); // before its body comes
    const body = await requestBody(request.raw, bytesMax);
    return send(
      request,
      reply,
      await timed(invoker, request, reply, target, httpRequest(request), body),
    );
  };
  const errorHandler = (error: unknown, request: FastifyRequest, reply: FastifyReply) => {
    const { status, body } = answerTo(error, request, reply);
    // What is left of a body that nobody wants is not worth waiting for.
    if (status === 413) reply.header('connection', 'close');
    return reply.code(status).send(withoutPrivateDetails(body));
  };
  for (const method of OTHER_METHODS) {
    // Nobody but requestBody() looks at their bodies.
    app.addHttpMethod(method, { hasBody: false, overrideExisting: true });
  }
  for (const url of ['/fn/:name', '/fn/:name/*']) {
    app.route<NameParams>({ method: METHODS, url, handler, errorHandler });
    const schema = { hide: true }; // OpenAPI has no word for them
    app.route<NameParams>({ method: OTHER_METHODS, url, schema, handler, errorHandler });
  }
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
  const options = { signal: clientGone(reply), onAdmitted: announce(reply) };
  const invocation = await invoker.invoke(target, invocationRequest, body, options);
  request.timing.invocation = invocation.timing;
  return invocation;
}

function httpRequest(request: FastifyRequest<NameParams>): InvocationRequest {
  const { rawHeaders, headers, url = '/', method = 'GET' } = request.raw;
  const [host, target] = url.startsWith('/') ? [headers.host, url] : absoluteForm(url);
  return {
    type: 'request',
    method,
    url: functionUrl(host, targetBehindName(target)),
    headers: requestHeaders(rawHeaders, headers.connection),
  };
}

/** 'http://host/fn/name' → ['host', '/fn/name']: what proxies are sent, and servers take as well (RFC 9112, 3.2.2). */
function absoluteForm(url: string): [host: string | undefined, target: string] {
  const [, host, target = '/'] = /^[^/]*\/\/([^/?#]*)(.*)$/.exec(url) ?? [];
  return [host, target];
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

/** A WebSocket is never an ordinary request; other upgrades are offers, which may be ignored (RFC 9110, 7.8). */
function refuseUpgrade({ headers: { upgrade } }: FastifyRequest): void {
  if (upgrade?.toLowerCase() === 'websocket') throw new ApiError('MAYFLY_UPGRADE_REFUSED');
}

const WITHOUT_BODY = new Set([204, 205, 304]);

function send(request: FastifyRequest, reply: FastifyReply, invocation: Invocation): FastifyReply {
  const { head, body } = invocation;
  if (head.type !== 'response') throw new ApiError('MAYFLY_GUEST_ANSWER');
  reply.code(head.status).headers(responseHeaders(head.headers));
  const isHead = request.method === 'HEAD';
  if (isHead || WITHOUT_BODY.has(head.status)) {
    const length = isHead && !WITHOUT_BODY.has(head.status) ? bodyLength(invocation) : undefined;
    if (length !== undefined) reply.header('content-length', length);
    readToEnd(body);
    return reply.send();
  }
  if (!(body instanceof Uint8Array)) {
    return reply.send(Readable.from(body, { objectMode: false }));
  }
  return body.byteLength === 0 ? reply.send() : reply.send(body);
}

/** What an answer to HEAD says about the body of the same GET: the function's word, or the body that it gave. */
function bodyLength({ head, body }: Invocation): string | undefined {
  if (body instanceof Uint8Array && body.byteLength > 0) return String(body.byteLength);
  const headers = 'headers' in head ? head.headers : [];
  const said = headers.find(([name]) => name === 'content-length')?.[1];
  return said !== undefined && /^\d{1,15}$/.test(said) ? said : undefined;
}

/** A body that nobody gets: the function is not held up by it. How the invocation ends is told elsewhere. */
async function readToEnd(body: Body): Promise<void> {
  if (body instanceof Uint8Array) return;
  try {
    for await (const _ of body);
  } catch {}
}
