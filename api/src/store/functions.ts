/** The functions, their versions and what was deployed, in the database. */
import type { FunctionSettings, Variables } from '@mayfly/protocol/api';
import type { SourceFile } from '../runtimes/runtime.js';
import type { Database, Table } from './database.js';

/** A name that something is deployed under. */
export interface FunctionRecord {
  name: string;
  /** The version that the name alone means. */
  current: number;
  /** Versions that there were, so that none comes twice. */
  deployed: number;
  variables: Variables;
  secrets: Variables;
}

/** A manifest with its defaults. */
export type Settings = FunctionSettings &
  Required<Pick<FunctionSettings, 'runtime' | 'memoryBytes' | 'timeoutMs' | 'env'>>;

/** What was deployed, apart from its files. It never changes. */
export type VersionRecord = Settings & {
  version: number;
  /** SHA-256, hex. */
  sourceDigest: string;
  /** ISO 8601. */
  deployedAt: string;
};

export type SourceFiles = ReadonlyMap<string, SourceFile>;

/** Oldest versions beyond this are forgotten when another one is deployed. */
const VERSIONS_MAX = 100;

export class FunctionStore {
  readonly #database: Database;
  readonly #functions: Table<FunctionRecord, string>;
  readonly #versions: Table<VersionRecord, [name: string, version: number]>;
  readonly #files: Table<[path: string, file: SourceFile][], [name: string, version: number]>;

  constructor(database: Database) {
    this.#database = database;
    this.#functions = database.table('functions');
    this.#versions = database.table('versions');
    this.#files = database.table('files');
  }

  functions(): FunctionRecord[] {
    return [...this.#functions.getRange().map(({ value }) => value)];
  }

  version(name: string, version: number): VersionRecord | undefined {
    return this.#versions.get([name, version]);
  }

  /** Newest first. */
  versions(name: string): VersionRecord[] {
    const range = { start: [name, Number.POSITIVE_INFINITY], end: [name], reverse: true } as never;
    return [...this.#versions.getRange(range).map(({ value }) => value)];
  }

  files(name: string, version: number): SourceFiles {
    return new Map(this.#files.get([name, version]));
  }

  /** Resolves when the version is on disk, and the function with it. */
  addVersion(record: FunctionRecord, version: VersionRecord, files: SourceFiles): Promise<void> {
    const { name } = record;
    const old = this.versions(name)
      .slice(VERSIONS_MAX - 1)
      .filter((before) => before.version !== record.current);
    return this.#database.transaction(() => {
      this.#functions.put(name, record);
      this.#versions.put([name, version.version], version);
      this.#files.put([name, version.version], [...files]);
      for (const before of old) this.#removeVersion(name, before.version);
    });
  }

  /** Resolves when the record is on disk. */
  update(record: FunctionRecord): Promise<void> {
    return this.#database.transaction(() => {
      this.#functions.put(record.name, record);
    });
  }

  /** Resolves when nothing of the function is on disk any more. */
  remove(name: string): Promise<void> {
    const versions = this.versions(name);
    return this.#database.transaction(() => {
      this.#functions.remove(name);
      for (const { version } of versions) this.#removeVersion(name, version);
    });
  }

  #removeVersion(name: string, version: number): void {
    this.#versions.remove([name, version]);
    this.#files.remove([name, version]);
  }
}
