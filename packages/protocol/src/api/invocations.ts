/** Invocations and what is kept of them. */
import { Type } from '@mayfly/schema';
import { ErrorBody } from './errors.js';
import { LogLine } from './logs.js';
import { CLOSED, count, FunctionName, Headers, millis, time, Version, words } from './types.js';

/** With microsecond precision. */
export const InvocationTiming = Type.Object(
  {
    queueMs: millis('waiting for a clone'),
    cloneMs: millis('making a clone, or finishing its rewind'),
    guestMs: millis('in the guest'),
    totalMs: millis('all of it'),
  },
  CLOSED,
);
export type InvocationTiming = Type.Static<typeof InvocationTiming>;

/** What went out of the guest. */
export const InvocationNetwork = Type.Object(
  {
    connections: count('connections that stood'),
    failed: count('connections that could not be made, policy apart'),
    denied: count('connections and names that no rule allows'),
    bytesSent: count('by the function'),
    bytesReceived: count('by the function'),
  },
  { ...CLOSED, description: 'what went out; absent when nothing tried to' },
);
export type InvocationNetwork = Type.Static<typeof InvocationNetwork>;

const InvocationResponse = Type.Object(
  {
    status: Type.Integer(),
    headers: Headers,
    body: Type.Optional(
      Type.String({ description: 'for invocations with an event; absent if it was too long' }),
    ),
    bodyEncoding: Type.Optional(words(['utf8', 'base64'], 'of body')),
  },
  { ...CLOSED, description: 'what an HTTP function answered' },
);

/** One invocation: while it is under way, and for some time after. */
export const InvocationRecord = Type.Object(
  {
    id: Type.String(),
    function: FunctionName,
    version: Version,
    status: words(
      ['queued', 'running', 'succeeded', 'failed', 'lost'],
      'lost: the server ended before the invocation did',
    ),
    trigger: words(['request', 'event'], 'by /fn, or by an event'),
    request: Type.Optional(Type.Object({ method: Type.String(), path: Type.String() }, CLOSED)),
    receivedAt: time('when it was admitted'),
    endedAt: Type.Optional(time('when it was over')),
    timing: Type.Optional(InvocationTiming),
    cold: Type.Optional(
      Type.Boolean({ description: 'it waited for the template to be made or opened' }),
    ),
    rewoundPages: Type.Optional(count('pages that it wrote and that were put back')),
    network: Type.Optional(InvocationNetwork),
    faults: Type.Optional(
      count('page faults: memory that was touched first in the life of its clone'),
    ),
    result: Type.Optional(
      Type.Unknown({ description: 'what a handler returned; absent for undefined' }),
    ),
    response: Type.Optional(InvocationResponse),
    error: Type.Optional(ErrorBody),
    logs: Type.Array(LogLine),
  },
  CLOSED,
);
export type InvocationRecord = Type.Static<typeof InvocationRecord>;

/** Newest first, without log lines and results. */
export const InvocationList = Type.Object(
  { invocations: Type.Array(Type.Omit(InvocationRecord, ['logs', 'result', 'response'], CLOSED)) },
  CLOSED,
);
export type InvocationList = Type.Static<typeof InvocationList>;

export const InvokeQuery = Type.Object(
  {
    async: Type.Optional(
      Type.Boolean({ description: 'answer 202 at once; Location is where the record will be' }),
    ),
    version: Type.Optional(Type.Integer({ ...Version, description: 'the current one' })),
  },
  CLOSED,
);
export type InvokeQuery = Type.Static<typeof InvokeQuery>;
