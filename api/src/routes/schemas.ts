/** Parts that the schemas of several routes share. */
import { ErrorBody, FunctionName } from '@mayfly/protocol/api';
import { type TSchema, Type } from '@mayfly/schema';

export const NDJSON = 'application/x-ndjson';

declare module 'fastify' {
  /** What OpenAPI says of a route besides its shapes; @fastify/swagger reads it. */
  interface FastifySchema {
    tags?: readonly string[];
    summary?: string;
    /** As the methods of MayflyClient are called, where there is one. */
    operationId?: string;
    description?: string;
    hide?: boolean;
  }
}

export const NameParams = Type.Object({ name: FunctionName });
export interface NameParams {
  Params: { name: string };
}

/** What a route answers: a body of this shape, or an error. */
export function answers(status: number, schema: TSchema, description: string) {
  return {
    [status]: { description, content: { 'application/json': { schema } } },
    ...errors,
  };
}

export const errors = {
  '4xx': { description: 'refused', content: { 'application/json': { schema: ErrorBody } } },
  '5xx': { description: 'failed', content: { 'application/json': { schema: ErrorBody } } },
};

export const nothing = { 204: Type.Null({ description: 'done' }), ...errors };
