import type { TLocalizedValidationError } from 'typebox/error';

/** Say that an alternative was not meant, or that none was. */
const OF_ALTERNATIVES = new Set(['type', 'required', 'additionalProperties', 'anyOf']);

/**
 * Of a value's errors, the one that tells most. Each alternative of a union has its own: what is wrong deepest within one tells
 * more than that the value is none of another; a value of a wrong type is told all types that it may have.
 */
export function clearestError(
  errors: readonly TLocalizedValidationError[],
): TLocalizedValidationError | undefined {
  const [first] = errors;
  if (first?.keyword !== 'type') return first;
  const here = errors.filter(({ instancePath }) => isBelow(instancePath, first.instancePath));
  const within = here.filter(({ keyword }) => !OF_ALTERNATIVES.has(keyword)).sort(byDepth);
  if (within[0]) return within[0];
  const ofTypes = here.filter(({ keyword }) => keyword === 'type').sort(byDepth);
  const [deepest = first] = ofTypes;
  const types = ofTypes
    .filter(({ instancePath }) => instancePath === deepest.instancePath)
    .flatMap(({ params }) => ('type' in params ? params.type : []));
  return { ...deepest, message: `must be ${[...new Set(types)].join(' or ')}` };
}

const isBelow = (path: string, above: string) => path === above || path.startsWith(`${above}/`);

const byDepth = (a: TLocalizedValidationError, b: TLocalizedValidationError) =>
  b.instancePath.length - a.instancePath.length;
