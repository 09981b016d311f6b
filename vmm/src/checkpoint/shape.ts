/**
 * What data from a file must look like, told by what does not. A schema library would do, but loading one takes longer
 * than loading a checkpoint.
 */

/** `problem` says what is wrong with a value, if anything; `text` what it should be. */
export interface Shape {
  readonly text: string;
  problem(value: unknown, at: string): string | undefined;
}

function shape(text: string, holds: (value: unknown) => boolean): Shape {
  return {
    text,
    problem: (value, at) => (holds(value) ? undefined : `${at} is ${shown(value)}, not ${text}`),
  };
}

function shown(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length <= 40 ? text : `${text.slice(0, 40)}…`;
}

/** A whole number from 0 up to `max`. */
export const integer = (max: number): Shape =>
  shape(
    `a whole number up to ${max}`,
    (x) => typeof x === 'number' && Number.isInteger(x) && x >= 0 && x <= max,
  );

/** Many whole numbers of 32 bits. */
export const numbers = (max: number): Shape =>
  shape(
    `a list of at most ${max} numbers of 32 bits`,
    (x) => Array.isArray(x) && x.length <= max && x.every((n) => n >>> 0 === n),
  );

export const flag: Shape = shape('true or false', (x) => typeof x === 'boolean');

export const exactly = (...values: (string | number | null)[]): Shape =>
  shape(values.map((value) => JSON.stringify(value)).join(' or '), (x) =>
    values.includes(x as string),
  );

/** A whole number of at most 64 bits, as decimal digits. */
export const decimal: Shape = shape(
  'a number of 64 bits in decimal digits',
  (x) => typeof x === 'string' && /^\d{1,20}$/.test(x) && BigInt(x) < 2n ** 64n,
);

export const bytes = (max: number, min = 0): Shape =>
  shape(
    min === max ? `${min} bytes` : `${min} to ${max} bytes`,
    (x) => x instanceof Uint8Array && x.length >= min && x.length <= max,
  );

export const optional = (of: Shape): Shape => ({
  text: `${of.text}, or null`,
  problem: (value, at) => (value === null ? undefined : of.problem(value, at)),
});

export const list = (of: Shape, max: number): Shape => ({
  text: `up to ${max} of: ${of.text}`,
  problem(value, at) {
    if (!Array.isArray(value) || value.length > max) {
      return `${at} is ${shown(value)}, not a list of at most ${max}`;
    }
    return first(value, (item, i) => of.problem(item, `${at}[${i}]`));
  },
});

/** A list with a shape for each of its items. */
export const tuple = (...of: Shape[]): Shape => ({
  text: `[${of.map(({ text }) => text).join('; ')}]`,
  problem(value, at) {
    if (!Array.isArray(value) || value.length !== of.length) {
      return `${at} is ${shown(value)}, not a list of ${of.length}`;
    }
    return first(of, (item, i) => item.problem(value[i], `${at}[${i}]`));
  },
});

/** An object with these fields and no others: the compiler wants a shape for each field of `T`. */
export function record<T>(fields: { readonly [K in keyof T]-?: Shape }): Shape {
  const shapes = Object.entries<Shape>(fields);
  return {
    text: `{ ${shapes.map(([name, { text }]) => `${name}: ${text}`).join('; ')} }`,
    problem(value, at) {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        return `${at} is ${shown(value)}, not an object`;
      }
      const extra = Object.keys(value).find((name) => !Object.hasOwn(fields, name));
      if (extra !== undefined) return `${at} has a field ${shown(extra)} that is not known`;
      const of = value as Record<string, unknown>;
      return first(shapes, ([name, { problem }]) => problem(of[name], `${at}.${name}`));
    },
  };
}

function first<T>(items: readonly T[], problem: (item: T, i: number) => string | undefined) {
  for (const [i, item] of items.entries()) {
    const found = problem(item, i);
    if (found !== undefined) return found;
  }
  return undefined;
}
