/** What every route that invokes does besides. */
import type { Signal } from '@mayfly/vmm';
import type { FastifyReply } from 'fastify';
import { ApiError } from '../errors.js';
import type { Trace } from '../trace.js';

/** Header with the id of the invocation, to look its record up. */
export const INVOCATION_HEADER = 'mayfly-invocation';

/** Aborted when the client closes its connection before it has the answer. An AbortController costs every request more. */
export function clientGone(reply: FastifyReply): Signal {
  const gone = new ClientGone();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort(new ApiError('MAYFLY_CLIENT_GONE'));
  });
  return gone;
}

class ClientGone implements Signal {
  aborted = false;
  reason: unknown;
  readonly #listeners: (() => void)[] = [];

  abort(reason: unknown): void {
    this.aborted = true;
    this.reason = reason;
    for (const listener of this.#listeners.splice(0)) listener();
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.push(listener);
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    const at = this.#listeners.indexOf(listener);
    if (at >= 0) this.#listeners.splice(at, 1);
  }
}

export function announce(reply: FastifyReply): (trace: Trace) => void {
  return ({ id }) => {
    reply.header(INVOCATION_HEADER, id);
  };
}
