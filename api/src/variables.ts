/** Variables and secrets of a function, beyond what the schemas say of each. */
import { ApiError } from './errors.js';

export type Values = Record<string, string>;

const COUNT_MAX = 128;
/** Of all of a function, and of all of a version, as JSON: they are in the head of each frame, and in a guest's boot page. */
const BYTES_MAX = 128 * 1024;

/** What a clone gets; undefined if that is nothing. Secrets win over variables of the same name. */
export function allOf({
  variables,
  secrets,
}: {
  variables: Values;
  secrets: Values;
}): Values | undefined {
  const all = { ...variables, ...secrets };
  return Object.keys(all).length === 0 ? undefined : all;
}

/** null removes. @throws ApiError MAYFLY_REQUEST_INVALID if there are too many then */
export function patched(before: Values, changes: Record<string, string | null> = {}): Values {
  const after = { ...before };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete after[name];
    else after[name] = value;
  }
  if (Object.keys(after).length <= COUNT_MAX) return after;
  throw new ApiError('MAYFLY_REQUEST_INVALID', `a function has at most ${COUNT_MAX} of each`);
}

/** @throws ApiError MAYFLY_REQUEST_INVALID */
export function checkSize(values: Values = {}): void {
  const bytes = Buffer.byteLength(JSON.stringify(values));
  if (bytes <= BYTES_MAX) return;
  const message = `the variables take ${bytes} bytes together, at most ${BYTES_MAX} are allowed`;
  throw new ApiError('MAYFLY_REQUEST_INVALID', message);
}
