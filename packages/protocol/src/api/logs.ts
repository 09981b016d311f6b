/** Console lines. */
import { Type } from '@mayfly/schema';
import { CLOSED, count, LogLevel } from './types.js';

export const LogLine = Type.Object(
  {
    level: LogLevel,
    time: Type.Number({ description: "milliseconds since 1970, the guest's clock" }),
    text: Type.String(),
  },
  CLOSED,
);

/** A line with where it came from. */
export const LogEntry = Type.Object(
  {
    sequence: count('grows with each line of the function; where to go on from, as ?after='),
    ...LogLine.properties,
    version: Type.Integer(),
    invocation: Type.Optional(
      Type.String({ description: 'id; none for lines of the start of a version' }),
    ),
  },
  CLOSED,
);
export type LogEntry = Type.Static<typeof LogEntry>;

/** Oldest first. As application/x-ndjson: one LogEntry a line. */
export const FunctionLogs = Type.Object(
  {
    logs: Type.Array(LogEntry),
    dropped: count('lines that the function wrote and that are not kept any more'),
  },
  CLOSED,
);
export type FunctionLogs = Type.Static<typeof FunctionLogs>;

export const LogQuery = Type.Object(
  {
    follow: Type.Optional(
      Type.Boolean({ description: 'keep the answer open and send lines as they come, as ndjson' }),
    ),
    since: Type.Optional(
      Type.String({
        maxLength: 64,
        description: 'milliseconds since 1970, an ISO 8601 time, or how long ago (90s, 10m, 2h)',
      }),
    ),
    after: Type.Optional(count('only lines behind this sequence')),
    invocation: Type.Optional(Type.String({ maxLength: 64, description: 'id of an invocation' })),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 10_000, description: 'the newest so many; 1000' }),
    ),
  },
  CLOSED,
);
export type LogQuery = Type.Static<typeof LogQuery>;
