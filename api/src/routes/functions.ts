/** /v1/functions: deploy, list, look at, remove. */
import type { FunctionSource } from '@mayfly/protocol/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ApiError } from '../errors.js';
import type { Registry } from '../registry.js';

const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;
const MEMORY_BYTES = { min: 64 * 1024 * 1024, max: 4 * 1024 * 1024 * 1024 };
const TIMEOUT_MS = { min: 1, max: 15 * 60_000 };
const ENV_MAX = 128;
const FIELDS = new Set(['source', 'memoryBytes', 'timeoutMs', 'env']);

export type NameParams = { Params: { name: string } };

export function functionRoutes(app: FastifyInstance, registry: Registry): void {
  app.get('/v1/functions', () => ({ functions: registry.list() }));

  app.get<NameParams>('/v1/functions/:name', ({ params }) => registry.get(params.name));

  app.get<NameParams>('/v1/functions/:name/logs', ({ params }) => ({
    logs: registry.logs(params.name),
  }));

  app.put<NameParams>('/v1/functions/:name', async (request) => {
    const { name } = request.params;
    if (!NAME.test(name)) throw new ApiError('MAYFLY_FUNCTION_NAME');
    return registry.deploy(name, readSource(request));
  });

  app.delete<NameParams>('/v1/functions/:name', async ({ params }, reply) => {
    await registry.remove(params.name);
    return reply.code(204).send();
  });
}

/** JSON is a FunctionSource; every other content type is the bare source. */
function readSource(request: FastifyRequest): FunctionSource & { source: string } {
  const text = textOf(request.body);
  const isJson = /^application\/json\b/i.test(request.headers['content-type'] ?? '');
  const source = isJson ? checkSource(parse(text)) : { source: text };
  if (source.source.trim() === '')
    throw new ApiError('MAYFLY_SOURCE_INVALID', 'the source is empty');
  return source;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function textOf(body: unknown): string {
  try {
    return body instanceof Uint8Array ? utf8.decode(body) : '';
  } catch {
    throw invalid('the body is not UTF-8');
  }
}

function parse(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(`the body is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null) throw invalid('the body is not a JSON object');
  return value as Record<string, unknown>;
}

function checkSource(fields: Record<string, unknown>): FunctionSource & { source: string } {
  const unknown = Object.keys(fields).find((field) => !FIELDS.has(field));
  if (unknown !== undefined) throw invalid(`unknown field "${unknown}"`);
  if (typeof fields.source !== 'string') throw invalid('source must be a string');
  const checked: FunctionSource & { source: string } = { source: fields.source };
  if (fields.memoryBytes !== undefined) {
    checked.memoryBytes = integer('memoryBytes', fields.memoryBytes, MEMORY_BYTES);
  }
  if (fields.timeoutMs !== undefined) {
    checked.timeoutMs = integer('timeoutMs', fields.timeoutMs, TIMEOUT_MS);
  }
  if (fields.env !== undefined) checked.env = environment(fields.env);
  return checked;
}

function integer(
  field: string,
  value: unknown,
  { min, max }: { min: number; max: number },
): number {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    throw invalid(`${field} must be an integer from ${min} to ${max}`);
  }
  return value as number;
}

function environment(value: unknown): Record<string, string> {
  const entries = Object.entries((value ?? {}) as object);
  const fits = ([name, text]: [string, unknown]) =>
    /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && typeof text === 'string' && !text.includes('\0');
  if (typeof value !== 'object' || entries.length > ENV_MAX || !entries.every(fits)) {
    throw invalid(
      `env must be an object of at most ${ENV_MAX} strings without NUL, named like variables`,
    );
  }
  const reserved = entries.find(([name]) => name.startsWith('MAYFLY_'));
  if (reserved) throw invalid(`${reserved[0]}: names that start with MAYFLY_ are reserved`);
  return Object.fromEntries(entries);
}

function invalid(message: string): ApiError {
  return new ApiError('MAYFLY_REQUEST_INVALID', message);
}
