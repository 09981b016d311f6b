/** Whether a mayfly.json is one, by the schema of the API. */
import { FunctionManifest } from '@mayfly/protocol/api';
import { clearestError, type TLocalizedValidationError, Value } from '@mayfly/schema';

/** @returns what is wrong with it, naming the first wrong field */
export function manifestProblem(manifest: unknown): string | undefined {
  const error = clearestError(Value.Errors(FunctionManifest, manifest));
  return error && problemOf(error);
}

function problemOf({ keyword, instancePath, message, params }: TLocalizedValidationError): string {
  const field = instancePath.slice(1).replaceAll('/', '.') || 'it';
  if (keyword === 'boolean') return `${field} is no field of a mayfly.json`;
  return keyword === 'enum'
    ? `${field} must be one of ${params.allowedValues.join(', ')}`
    : `${field} ${message}`;
}
