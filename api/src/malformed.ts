/** What is no HTTP, or not of a kind that can be served, gets an answer all the same, of the shape of all others. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ErrorBody } from '@mayfly/protocol/api';
import { ApiError, type ApiErrorCode, ERRORS } from './errors.js';
import { destroyLater } from './lingering.js';
import { serverTiming, startTiming } from './timing.js';

interface Refusal {
  status: number;
  reason: string;
  code?: ApiErrorCode;
  message: string;
}

/** Codes of Node's parser that mean something else than that the request is malformed. */
const REFUSALS: Record<string, Refusal> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    reason: 'Request Header Fields Too Large',
    message: 'the headers are longer than 16 KiB',
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: 413,
    reason: 'Payload Too Large',
    message: 'the extensions of a chunk are too long',
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    reason: 'Request Timeout',
    message: 'the request did not come in time',
  },
};

/** Answers what Node's parser refuses, and has its connection end. */
export function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  // Behind the head of another answer nothing can be said any more; Node.js looks there, too.
  const { _httpMessage: begun } = socket as { _httpMessage?: ServerResponse };
  if (!socket.writable || error.code === 'ECONNRESET' || begun?.headersSent) {
    socket.destroy();
    return;
  }
  const malformed = {
    status: 400,
    reason: 'Bad Request',
    message: `the request is not HTTP: ${error.message}`,
  };
  refuse(socket, REFUSALS[error.code ?? ''] ?? malformed);
}

/** A request that Node's parser takes and that must not be served all the same (RFC 9112, 3.2 and 6.1). */
export function misframed({ headers, httpVersion }: IncomingMessage): ApiError | undefined {
  if (headers.host === undefined && httpVersion === '1.1') {
    return new ApiError('MAYFLY_REQUEST_INVALID', 'a request of HTTP/1.1 has a Host header');
  }
  const coding = headers['transfer-encoding'];
  if (coding === undefined || coding.toLowerCase() === 'chunked') return undefined;
  const message = `bodies with the transfer encoding "${coding}" are not understood`;
  return new ApiError('MAYFLY_REQUEST_INVALID', message, { status: 501 });
}

/** Has a server answer what Node.js would drop, or answer without a body. */
export function answerOddRequests(server: Server): void {
  server.maxHeadersCount = 0; // those beyond a maximum would be dropped silently; their length is bounded
  server.on('connect', ({ url }, socket) => {
    const message = `there is no CONNECT ${url}; this is no proxy`;
    const refusal = { status: 404, reason: 'Not Found', message };
    refuse(socket as Socket, { ...refusal, code: 'MAYFLY_ROUTE_UNKNOWN' });
  });
  // What is expected besides 100-continue may be ignored (RFC 9110, 10.1.1).
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
}

function refuse(
  socket: Socket,
  { status, reason, code = 'MAYFLY_REQUEST_INVALID', message }: Refusal,
): void {
  const body: ErrorBody = { code, message, hint: ERRORS[code].hint };
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status} ${reason}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(text)}`,
    `server-timing: ${serverTiming(startTiming())}`,
    'connection: close',
  ];
  socket.on('error', () => {}); // it may be gone
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`);
  destroyLater(socket);
}
