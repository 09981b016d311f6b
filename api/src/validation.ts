/** Requests checked against the schemas of the API. */

import { Compile, type TLocalizedValidationError, type TSchema } from '@mayfly/schema';
import type { FastifySchemaCompiler } from 'fastify';
import { ApiError, type ApiErrorCode } from './errors.js';

/** Text of a URL is converted to numbers and booleans where the schema wants them; bodies are taken as they are. */
export const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const validator = Compile(schema);
  const isText = httpPart !== 'body';
  return (data: unknown) => {
    const value = isText ? validator.Convert(data) : (data ?? {});
    if (validator.Check(value)) return { value };
    const [error] = validator.Errors(value);
    return { error: error ? refusal(error, httpPart) : new ApiError('MAYFLY_REQUEST_INVALID') };
  };
};

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
