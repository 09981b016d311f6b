import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import type { ImageConfig } from '../archive/container.js';
import { absent, replaceFile } from './durable.js';

const NAME = /^[a-z0-9][a-z0-9._:-]{0,127}$/i;
const DIGEST = /^[0-9a-f]{64}$/;
const SUFFIX = '.json';

/** What a source became: digests of EROFS images, bottom first, and how to start it, if it said so. */
export interface ImageRecord {
  layers: string[];
  config?: ImageConfig;
  /** What was left out of the source, one line each. */
  notes?: string[];
}

/** A record that somebody gave a name. */
export interface NamedImage extends ImageRecord {
  name: string;
  /** What it was built from, as the builder wrote it. */
  source: string;
  /** ISO 8601. */
  createdAt: string;
}

/** Records in a folder of small JSON files, each replaced as a whole. */
export class Records<T extends ImageRecord> {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** undefined when there is none, or none that can be read. */
  async get(name: string): Promise<T | undefined> {
    const text = await readFile(this.#path(name), 'utf8').catch(absent);
    try {
      const record: unknown = JSON.parse(text ?? 'null');
      return isRecord(record) ? (record as T) : undefined;
    } catch {
      return undefined;
    }
  }

  async set(name: string, record: T): Promise<void> {
    await replaceFile(this.#path(name), `${JSON.stringify(record, null, 2)}\n`);
  }

  /** Says whether there was one. */
  async remove(name: string): Promise<boolean> {
    const found = (await this.get(name)) !== undefined;
    await rm(this.#path(name), { force: true });
    return found;
  }

  /** All, by name. */
  async list(): Promise<T[]> {
    const files = (await readdir(this.#dir)).filter((file) => file.endsWith(SUFFIX)).sort();
    const records = files.map((file) => this.get(file.slice(0, -SUFFIX.length)));
    return (await Promise.all(records)).filter((record) => record !== undefined);
  }

  #path(name: string): string {
    return join(this.#dir, `${name}${SUFFIX}`);
  }
}

function isRecord(value: unknown): boolean {
  const { layers } = (value ?? {}) as { layers?: unknown };
  return Array.isArray(layers) && layers.every((layer) => DIGEST.test(String(layer)));
}

/** Throws MAYFLY_IMAGE_BAD_NAME. */
export function checkName(name: string): void {
  if (NAME.test(name) && !DIGEST.test(name)) return;
  throw new MayflyError(
    'MAYFLY_IMAGE_BAD_NAME',
    `${JSON.stringify(name)} is no image name: letters, digits and . _ : - are, at most 128, the first a letter or digit`,
  );
}
