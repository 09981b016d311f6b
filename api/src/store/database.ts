/**
 * The file that everything lies in which must survive the server: an LMDB environment, one server at a time. What a
 * resolved write wrote is on disk; what was being written when the process or the host died is there wholly or not at all.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, open as openFile, realpath, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MayflyError } from '@mayfly/protocol';
import { type Database as Lmdb, open, type RootDatabase } from 'lmdb';

/** Grows when older servers could not read what newer ones write. This one reads all that came before. */
const FORMAT = 2;
const FILE = 'mayfly.mdb';
/** Secrets lie in it as they are. */
const MODE = 0o600;
/** At least what LMDB makes its lock file, for 126 readers. */
const LOCK_BYTES = 12 * 1024;
/** There while a server uses the database, and when the last one did not close it. */
const MARK = 'mayfly.open';
/** mdb.c of the LMDB that lmdb-js brings: MDB_MAGIC and MDB_DATA_VERSION, behind the header of the first page. */
const MAGIC = { offset: 24, value: 0xbeefc0de, version: 2 };

export type Table<Value, Key extends (string | number)[] | string> = Lmdb<Value, Key>;

/** The names of a record's fields are kept once in a table, under this key, instead of with each record. */
export const TABLE_OPTIONS = Object.freeze({ sharedStructuresKey: Symbol.for('structures') });

export class Database {
  readonly #root: RootDatabase;
  readonly #mark: string;
  readonly #unlock: () => void;

  private constructor(root: RootDatabase, mark: string, unlock: () => void) {
    this.#root = root;
    this.#mark = mark;
    this.#unlock = unlock;
  }

  /**
   * @param dir made if needed
   * @throws MayflyError MAYFLY_STORE_DAMAGED, MAYFLY_STORE_FORMAT, MAYFLY_STORE_IN_USE, MAYFLY_STORE_UNUSABLE
   */
  static async open(dir: string): Promise<Database> {
    try {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      return await Database.#openIn(dir);
    } catch (cause) {
      if (cause instanceof MayflyError) throw cause;
      const message = `the data of a server cannot be kept in ${dir}: ${(cause as Error).message}`;
      throw new MayflyError('MAYFLY_STORE_UNUSABLE', message, { cause });
    }
  }

  static async #openIn(dir: string): Promise<Database> {
    const unlock = await lock(await realpath(dir));
    try {
      const path = join(dir, FILE);
      const mark = join(dir, MARK);
      await checkHeader(path);
      if (existsSync(mark) && existsSync(path)) await checkContent(path);
      await writeFile(mark, '');
      await reserveLockFile(`${path}-lock`);
      // Without overlapping syncs, a commit that is acknowledged is on disk, as in LMDB itself.
      // The promise of an event turn's batch is nobody's: if it failed, for want of room, it would end the process.
      const options = { overlappingSync: false, eventTurnBatching: false, permissionsMode: MODE };
      const root = open({ path, maxDbs: 16, ...options });
      await chmod(path, MODE); // one that an earlier server made
      await checkFormat(root, path);
      return new Database(root, mark, unlock);
    } catch (error) {
      unlock();
      throw error;
    }
  }

  table<Value, Key extends (string | number)[] | string>(name: string): Table<Value, Key> {
    return this.#root.openDB<Value, Key>(name, TABLE_OPTIONS);
  }

  /**
   * What `work` writes is there wholly or not at all. Resolves when it is on disk.
   *
   * @throws MayflyError MAYFLY_STORE_UNWRITABLE: it is not; the disk is full, for example
   */
  async transaction(work: () => void): Promise<void> {
    try {
      await this.#root.transaction(work);
    } catch (error) {
      const { commitError } = error as { commitError?: Promise<never> };
      if (commitError === undefined) throw error;
      const cause = await commitError.catch((why: unknown) => why); // a rejection that nobody waits for ends the process
      const message = `the change could not be written: ${(cause as Error).message}`;
      throw new MayflyError('MAYFLY_STORE_UNWRITABLE', message, { cause });
    }
  }

  async close(): Promise<void> {
    await this.#root.close();
    await rm(this.#mark, { force: true });
    this.#unlock();
  }
}

/** LMDB maps its table of readers, and writes to it: where the disk had no room for that, a signal would end the process. */
async function reserveLockFile(path: string): Promise<void> {
  if (!existsSync(path)) await writeFile(path, Buffer.alloc(LOCK_BYTES));
}

/** LMDB follows whatever offsets a file has: what is no file of LMDB's must not get that far. */
async function checkHeader(path: string): Promise<void> {
  const file = await openFile(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (file === undefined) return;
  try {
    const head = Buffer.alloc(MAGIC.offset + 8);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    if (bytesRead === 0) return; // The process ended between making the file and its first page.
    const isLmdb =
      bytesRead === head.length &&
      head.readUInt32LE(MAGIC.offset) === MAGIC.value &&
      head.readUInt32LE(MAGIC.offset + 4) === MAGIC.version;
    if (!isLmdb) throw damaged(path);
  } finally {
    await file.close();
  }
}

/** In a process of its own, which may crash. Throws MAYFLY_STORE_DAMAGED. */
async function checkContent(path: string): Promise<void> {
  const check = fileURLToPath(new URL('check.js', import.meta.url));
  const child = spawn(process.execPath, [check, path], { stdio: 'ignore' });
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject).once('exit', resolve);
  });
  if (code !== 0) throw damaged(path);
}

async function checkFormat(root: RootDatabase, path: string): Promise<void> {
  const format: unknown = root.get('format');
  if (format === FORMAT) return;
  const isOlder = typeof format === 'number' && format >= 1 && format < FORMAT;
  if (format === undefined || isOlder) {
    await root.put('format', FORMAT);
  } else {
    await root.close();
    const message = `${path} has format ${format}, this server reads ${FORMAT}; use the server that wrote it`;
    throw new MayflyError('MAYFLY_STORE_FORMAT', message);
  }
}

function damaged(path: string): MayflyError {
  const message = `${path} is damaged; put a copy of it there, or remove it and deploy the functions again`;
  return new MayflyError('MAYFLY_STORE_DAMAGED', message);
}

/** A socket in Linux's abstract namespace (unix(7)): it is gone when the process is, however that ended. */
function lock(dir: string): Promise<() => void> {
  const name = createHash('sha256').update(dir).digest('hex').slice(0, 32);
  const socket = createServer((connection) => connection.destroy()).unref();
  return new Promise((resolve, reject) => {
    socket.once('error', (cause: NodeJS.ErrnoException) => {
      const message = `another server uses ${dir}; stop it, or use another folder`;
      const inUse = new MayflyError('MAYFLY_STORE_IN_USE', message, { cause });
      reject(cause.code === 'EADDRINUSE' ? inUse : cause);
    });
    socket.listen(`\0mayfly-store-${name}`, () => resolve(() => socket.close()));
  });
}
