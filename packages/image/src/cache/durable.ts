import { randomBytes } from 'node:crypto';
import { open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const TEMPORARY = /^\.new-(\d+)-[0-9a-f]+$/;

/** Temporaries of this process that are being written. */
const live = new Set<string>();

/** Lends `work` the name of a file or folder in `dir` that is gone afterwards, or when this process is. */
export async function withTemporary<T>(
  dir: string,
  work: (temporary: string) => Promise<T>,
): Promise<T> {
  const name = `.new-${process.pid}-${randomBytes(8).toString('hex')}`;
  const temporary = join(dir, name);
  live.add(name);
  try {
    return await work(temporary);
  } finally {
    await rm(temporary, { recursive: true, force: true });
    live.delete(name);
  }
}

/**
 * Lets `write` make a file under a temporary name in `dir`, then gives it the name that `write` returns. The name appears with
 * the whole file behind it or not at all; `write` syncs the content, this syncs the folder.
 */
export function createFile(
  dir: string,
  write: (temporary: string) => Promise<string>,
): Promise<string> {
  return withTemporary(dir, async (temporary) => {
    const final = join(dir, await write(temporary));
    await rename(temporary, final);
    await sync(dir);
    return final;
  });
}

/** Replaces a small file whose loss is harmless; readers see the old or the new one, never a half. */
export async function replaceFile(path: string, content: string): Promise<void> {
  await createFile(dirname(path), async (temporary) => {
    await writeFile(temporary, content);
    return path.slice(dirname(path).length + 1);
  });
}

/** Removes temporaries whose writers are gone. */
export async function removeAbandoned(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    const match = TEMPORARY.exec(name);
    if (match !== null && !isLive(name, Number(match[1])))
      await rm(join(dir, name), { recursive: true, force: true });
  }
}

/** A process in a container is often number 1 at every start, so the own number alone proves nothing. */
function isLive(name: string, pid: number): boolean {
  if (pid === process.pid) return live.has(name);
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Takes a folder away at once, then removes what was in it. */
export async function removeFolder(path: string): Promise<void> {
  await withTemporary(dirname(path), async (temporary) => {
    await rename(path, temporary);
    await sync(dirname(path));
  });
}

/** fsync(2) of a file or folder. */
export async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** For catch(): a file that is not there is undefined, any other error stays one. */
export function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}
