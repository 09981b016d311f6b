/** What every route that invokes does besides. */
import type { FastifyReply } from 'fastify';
import { ApiError } from '../errors.js';
import type { Trace } from '../trace.js';

/** Header with the id of the invocation, to look its record up. */
export const INVOCATION_HEADER = 'mayfly-invocation';

/** Aborted when the client closes its connection before it has the answer. */
export function clientGone(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort(new ApiError('MAYFLY_CLIENT_GONE'));
  });
  return gone.signal;
}

export function announce(reply: FastifyReply): (trace: Trace) => void {
  return ({ id }) => {
    reply.header(INVOCATION_HEADER, id);
  };
}
