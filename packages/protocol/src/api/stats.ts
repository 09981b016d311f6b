/** What the server is and how its functions fare. */
import { Type } from '@mayfly/schema';
import { CLOSED, count, FunctionName, millis, time, Version, words } from './types.js';

/** GET /healthz: the process answers. */
export const Health = Type.Object(
  {
    status: words(['ok'], 'it answers, so it is'),
    version: Type.String({ description: 'of the server' }),
    functions: count('deployed'),
    inFlight: count('invocations that were admitted and not answered yet'),
  },
  CLOSED,
);
export type Health = Type.Static<typeof Health>;

/** GET /readyz: 200 while requests are welcome, 503 while the server drains. */
export const Readiness = Type.Object(
  { status: words(['ready', 'draining'], 'draining: send requests elsewhere') },
  CLOSED,
);
export type Readiness = Type.Static<typeof Readiness>;

export const FunctionStats = Type.Object(
  {
    name: FunctionName,
    version: Version,
    invocations: count('that ended'),
    errors: count('of those'),
    running: count('in a guest now'),
    queued: count('waiting for a clone now'),
    clones: count('live: running, parked or waiting'),
    coldStarts: count('templates made or opened for an invocation'),
    rewoundPages: count('put back in all'),
    faults: count('page faults in all'),
    latency: Type.Object(
      { p50Ms: millis('half'), p90Ms: millis('nine of ten'), p99Ms: millis('99 of 100') },
      { ...CLOSED, description: 'of the newest invocations, from admission to the last byte' },
    ),
  },
  CLOSED,
);
export type FunctionStats = Type.Static<typeof FunctionStats>;

/** All counts since the server started. */
export const Stats = Type.Object(
  { startedAt: time('of the server'), functions: Type.Array(FunctionStats) },
  CLOSED,
);
export type Stats = Type.Static<typeof Stats>;
