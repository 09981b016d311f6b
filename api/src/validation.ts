/** Requests checked against the schemas of the API, and answers written by them. Each is compiled when it is needed first. */
import { createRequire } from 'node:module';
import {
  Compile,
  clearestError,
  type TLocalizedValidationError,
  type TSchema,
} from '@mayfly/schema';
import type * as Stringify from '@mayfly/schema/stringify';
import type {
  FastifySchemaCompiler,
  FastifySerializerCompiler,
  FastifyServerOptions,
} from 'fastify';
import { ApiError, type ApiErrorCode } from './errors.js';

/** Text of a URL is converted to numbers and booleans where the schema wants them; bodies are taken as they are. */
const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  let compiled: ReturnType<typeof Compile> | undefined;
  const isText = httpPart !== 'body';
  return (data: unknown) => {
    compiled ??= Compile(schema);
    const validator = compiled;
    const value = isText ? validator.Convert(data) : (data ?? {});
    if (validator.Check(value)) return { value };
    const error = clearestError(validator.Errors(value));
    return { error: error ? refusal(error, httpPart) : new ApiError('MAYFLY_REQUEST_INVALID') };
  };
};

/** What an answer's schema does not know stays out of it. */
const serializerCompiler: FastifySerializerCompiler<TSchema> = ({ schema }) => {
  let stringify: ((data: unknown) => string) | undefined;
  return (data: unknown) => {
    stringify ??= loadStringify().build(schema as Stringify.Schema);
    return stringify(data);
  };
};

/** What Fastify asks for compilers. With its own, several hundred modules were loaded at the start. */
export const schemaController: FastifyServerOptions['schemaController'] = {
  compilersFactory: {
    buildValidator: () => validatorCompiler as never, // it is typed for Ajv
    buildSerializer: () => serializerCompiler as never,
  },
};

/** Only answers need it. */
function loadStringify(): typeof Stringify {
  return createRequire(import.meta.url)('@mayfly/schema/stringify');
}

function refusal(error: TLocalizedValidationError, httpPart = ''): ApiError {
  const isName = httpPart === 'params' && error.instancePath === '/name';
  const code: ApiErrorCode = isName ? 'MAYFLY_FUNCTION_NAME' : 'MAYFLY_REQUEST_INVALID';
  return isName ? new ApiError(code) : new ApiError(code, problemOf(error, httpPart));
}

/** What is wrong, and where, in words. */
export function problemOf(
  { keyword, instancePath, message, params }: TLocalizedValidationError,
  whole: string,
): string {
  const path = instancePath.slice(1).replaceAll('/', '.');
  const field = path === '' ? `the ${whole}` : path;
  switch (keyword) {
    case 'boolean':
      return `"${path}" is no field, or no name that may be used there`;
    case 'enum':
      return `${field} must be one of ${params.allowedValues.join(', ')}`;
    default:
      return `${field} ${message}`;
  }
}
