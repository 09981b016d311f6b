/**
 * The functions on disk: one JSON file each. A file is written under a temporary name, synced and renamed, so a crash
 * leaves the old or the new one, and what was acknowledged is there.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';

/** A deployed function, as it is kept. */
export interface StoredFunction {
  name: string;
  version: number;
  /** What the user sent. */
  source: string;
  sourceDigest: string;
  memoryBytes: number;
  timeoutMs: number;
  env: Record<string, string>;
  /** ISO 8601. */
  deployedAt: string;
}

const TEMPORARY = '.tmp';

export class FunctionStore {
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Makes the folder if needed and clears away what an interrupted write left. */
  static async open(dir: string): Promise<FunctionStore> {
    await mkdir(dir, { recursive: true });
    for (const file of await readdir(dir)) {
      if (file.endsWith(TEMPORARY)) await rm(join(dir, file));
    }
    return new FunctionStore(dir);
  }

  /** @throws MayflyError MAYFLY_STORE_DAMAGED naming the file that is not as it was written */
  async readAll(): Promise<StoredFunction[]> {
    const files = (await readdir(this.#dir)).filter((file) => file.endsWith('.json')).sort();
    return Promise.all(files.map((file) => this.#read(file)));
  }

  /** Resolves when the function is on disk. */
  async write(stored: StoredFunction): Promise<void> {
    const path = this.#path(stored.name);
    const file = await open(path + TEMPORARY, 'w');
    try {
      await file.writeFile(`${JSON.stringify(stored, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(path + TEMPORARY, path);
    await this.#syncFolder();
  }

  async remove(name: string): Promise<void> {
    await rm(this.#path(name), { force: true });
    await this.#syncFolder();
  }

  async #read(file: string): Promise<StoredFunction> {
    const path = join(this.#dir, file);
    try {
      const stored = JSON.parse(await readFile(path, 'utf8'));
      if (isStoredFunction(stored) && `${stored.name}.json` === file) return stored;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    throw new MayflyError(
      'MAYFLY_STORE_DAMAGED',
      `${path} is damaged; deploy the function again after removing it`,
    );
  }

  #path(name: string): string {
    return join(this.#dir, `${name}.json`);
  }

  async #syncFolder(): Promise<void> {
    const folder = await open(this.#dir, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}

function isStoredFunction(value: unknown): value is StoredFunction {
  const stored = value as Partial<StoredFunction> | null;
  return (
    typeof stored === 'object' &&
    typeof stored?.name === 'string' &&
    Number.isInteger(stored.version) &&
    typeof stored.source === 'string' &&
    typeof stored.sourceDigest === 'string' &&
    Number.isInteger(stored.memoryBytes) &&
    Number.isInteger(stored.timeoutMs) &&
    typeof stored.env === 'object' &&
    typeof stored.deployedAt === 'string'
  );
}
