/** Who changes a store is alone meanwhile, among processes and threads; who reads it waits for nobody. */
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLock } from '../kvm/index.js';

const AGAIN_MS = 20;

/** Waits for all others. The lock is that of the folder itself, and ends with this process at the latest. */
export async function alone<T>(folder: string, work: () => Promise<T>): Promise<T> {
  return locked(folder, async (file) => {
    while (!tryLock(file.fd)) await sleep(AGAIN_MS);
    return work();
  });
}

/** Leaves the work to others if somebody is at it. */
export async function ifAlone(folder: string, work: () => Promise<void>): Promise<void> {
  await locked(folder, async (file) => {
    if (tryLock(file.fd)) await work();
  });
}

async function locked<T>(folder: string, work: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(folder, 'r');
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}
