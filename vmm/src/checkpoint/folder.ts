/** Files and folders that are there whole or not at all, whatever happens meanwhile. */
import { randomBytes } from 'node:crypto';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Folders being made, and folders being removed: by whom, and a number. */
const TEMPORARY = /^\.(?:new|gone)-(\d+)-[0-9a-f]{16}$/;

export const randomId = () => randomBytes(8).toString('hex');

export function temporaryName(kind: 'new' | 'gone'): string {
  return `.${kind}-${process.pid}-${randomId()}`;
}

export async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Writes and syncs a new file. */
export async function writeFileSynced(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Gives what is at `from` its final name; survives a crash from here on. */
export async function publish(from: string, to: string): Promise<void> {
  await rename(from, to);
  await sync(dirname(to));
}

/** Takes a folder away at once, then removes it. */
export async function removeFolder(path: string): Promise<void> {
  const gone = join(dirname(path), temporaryName('gone'));
  await publish(path, gone);
  await rm(gone, { recursive: true, force: true });
}

/** Removes what processes that are no more had under way in `dir`. */
export async function sweep(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    const match = TEMPORARY.exec(name);
    if (match !== null && !isAlive(Number(match[1]))) {
      await rm(join(dir, name), { recursive: true, force: true });
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
