/** What is no HTTP gets an answer all the same, of the shape of all others; then its connection is cut. */
import type { Socket } from 'node:net';
import type { ErrorBody } from '@mayfly/protocol/api';
import { ERRORS } from './errors.js';
import { destroyLater } from './lingering.js';
import { serverTiming, startTiming } from './timing.js';

interface Refusal {
  status: number;
  reason: string;
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

export function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const malformed = {
    status: 400,
    reason: 'Bad Request',
    message: `the request is not HTTP: ${error.message}`,
  };
  const { status, reason, message } = REFUSALS[error.code ?? ''] ?? malformed;
  const { hint } = ERRORS.MAYFLY_REQUEST_INVALID;
  const body: ErrorBody = { code: 'MAYFLY_REQUEST_INVALID', message, hint };
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status} ${reason}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(text)}`,
    `server-timing: ${serverTiming(startTiming())}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`);
  destroyLater(socket);
}
