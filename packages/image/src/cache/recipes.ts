import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Sightings, stillSeen } from '../tree/sightings.js';
import { replaceFile } from './durable.js';

const DIGEST = /^[0-9a-f]{64}$/;

/** What the image of a host program was made of. */
interface Recipe {
  image: string;
  seen: [hostPath: string, sighting: string][];
}

/**
 * Which image a program of the host got, and all that was looked at to make it, in a small file for each program. A few dozen
 * lstat(2) then tell what takes a walk through libraries and data otherwise. Only a cache.
 */
export class Recipes {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** The digest of the image that this program would get again; undefined when that is not known. */
  imageOf(program: string): string | undefined {
    const recipe = this.#read(program);
    return recipe !== undefined && stillSeen(recipe.seen) ? recipe.image : undefined;
  }

  async save(program: string, image: string, sightings: Sightings): Promise<void> {
    for (const path of rulesPaths()) sightings.add(path, lstatSync(path, { bigint: true }));
    const seen = sightings.list;
    if (seen === undefined) return;
    await replaceFile(this.#path(program), JSON.stringify({ image, seen } satisfies Recipe));
  }

  #read(program: string): Recipe | undefined {
    try {
      const recipe: unknown = JSON.parse(readFileSync(this.#path(program), 'utf8'));
      return isRecipe(recipe) ? recipe : undefined;
    } catch {
      return undefined;
    }
  }

  #path(program: string): string {
    return join(this.#dir, createHash('sha256').update(program).digest('hex'));
  }
}

function isRecipe(value: unknown): value is Recipe {
  const { image, seen } = (value ?? {}) as Partial<Recipe>;
  const isSighting = (one: unknown) =>
    Array.isArray(one) && typeof one[0] === 'string' && typeof one[1] === 'string';
  return DIGEST.test(String(image)) && Array.isArray(seen) && seen.every(isSighting);
}

/** What decides which files a program needs is Mayfly's own code: another version of it may decide otherwise. */
function rulesPaths(): string[] {
  const dir = fileURLToPath(new URL('../tree/', import.meta.url));
  return readdirSync(dir)
    .filter((name) => name.endsWith('.js'))
    .map((name) => join(dir, name));
}
