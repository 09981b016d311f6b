/** What several of the API's schemas are made of. */
import { Type } from '@mayfly/schema';

/** Every object of the API is closed: an unknown field in a request is refused, none is ever sent. */
export const CLOSED = { additionalProperties: false } as const;

/** One of some words. */
export function words<const Words extends string[]>(values: [...Words], description: string) {
  return Type.Enum(values, { type: 'string', description });
}

export const time = (description: string) =>
  Type.String({ format: 'date-time', description: `${description} (ISO 8601, UTC)` });

export const millis = (description: string) =>
  Type.Number({ minimum: 0, description: `${description}, in milliseconds` });

export const count = (description: string) => Type.Integer({ minimum: 0, description });

export const FunctionName = Type.String({
  pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
  description: '1 to 63 of a-z, 0-9 and -; starts with a letter or digit',
  examples: ['greet'],
});

export const Version = Type.Integer({
  minimum: 1,
  description: 'counts the deployments under a name, from 1',
});

/** MAYFLY_ is the platform's own prefix; __proto__ is no name that every object can hold. */
export const VariableName = Type.String({
  pattern: '^(?!MAYFLY_|__proto__$)[A-Za-z_][A-Za-z0-9_]{0,255}$',
});
export const VariableValue = Type.String({ maxLength: 32 * 1024, pattern: '^[^\\u0000]*$' });

/** Values by names of variables. */
export const Variables = Type.Record(VariableName, VariableValue, {
  ...CLOSED,
  maxProperties: 128,
  description: 'environment variables; names that start with MAYFLY_ are reserved',
  examples: [{ COLOR: 'red' }],
});
export type Variables = Type.Static<typeof Variables>;

const HeaderPair = Type.Unsafe<[name: string, value: string]>({
  type: 'array',
  items: { type: 'string' },
  minItems: 2,
  maxItems: 2,
});

export const Headers = Type.Array(HeaderPair, {
  description: 'pairs of name and value, in order',
});

export const LogLevel = words(['debug', 'info', 'warn', 'error'], 'how loud');
