/**
 * Variables and secrets of a function, whatever its version: given to each invocation in its clone, never part of a
 * template; but programs that read no frames (runtimes http and native) are booted again with them. They win over the
 * variables that a version was deployed with.
 */
import { Type } from '@mayfly/schema';
import { CLOSED, VariableName, Variables, VariableValue } from './types.js';

/** Replaces everything. */
export const Environment = Type.Object(
  { variables: Type.Optional(Variables), secrets: Type.Optional(Variables) },
  CLOSED,
);
export type Environment = Type.Static<typeof Environment>;

const changes = Type.Record(VariableName, Type.Union([VariableValue, Type.Null()]), {
  ...CLOSED,
  maxProperties: 128,
  description: 'null removes',
});

/** Changes some. */
export const EnvironmentPatch = Type.Object(
  { variables: Type.Optional(changes), secrets: Type.Optional(changes) },
  {
    ...CLOSED,
    examples: [{ variables: { COLOR: 'blue', OLD: null }, secrets: { TOKEN: 't0ken' } }],
  },
);
export type EnvironmentPatch = Type.Static<typeof EnvironmentPatch>;

/** What can be read back: of secrets only the names. */
export const EnvironmentInfo = Type.Object(
  {
    variables: Variables,
    secrets: Type.Array(Type.String(), { description: 'names; values are never shown' }),
  },
  CLOSED,
);
export type EnvironmentInfo = Type.Static<typeof EnvironmentInfo>;
