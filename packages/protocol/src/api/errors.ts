/** The body of every answer that is neither a success nor a function's own. */
import { Type } from '@mayfly/schema';
import { LogLine } from './logs.js';
import { CLOSED, count } from './types.js';

const SourceLocation = Type.Object(
  {
    file: Type.Optional(Type.String()),
    line: count('from 1'),
    column: count('from 1'),
    lineText: Type.String(),
  },
  { ...CLOSED, description: 'where in the source' },
);

export const ErrorBody = Type.Object(
  {
    code: Type.String({ description: 'stable; docs/errors.md has them all' }),
    message: Type.String({ description: 'what is wrong, and where' }),
    hint: Type.String({ description: 'what to do about it' }),
    location: Type.Optional(SourceLocation),
    stack: Type.Optional(
      Type.String({ description: 'only where the owner of the function asks, never on /fn' }),
    ),
    logs: Type.Optional(Type.Array(LogLine)),
    invocation: Type.Optional(Type.String({ description: 'id, if one was made' })),
  },
  CLOSED,
);
export type ErrorBody = Type.Static<typeof ErrorBody>;
