/** Who changes a store is alone meanwhile, among processes and threads; who reads it waits for nobody. */
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLock } from '../kvm/index.js';

const AGAIN_MS = 20;
/** What is over sooner is not worth a word. */
const QUIET_MS = 1000;

/** Told what process is waited for, as soon as that takes long, and when it is another one; undefined where it is not known. */
export type OnWait = (pid: number | undefined) => void;

/** Waits for all others. The lock is that of the folder itself, and ends with this process at the latest. */
export async function alone<T>(
  folder: string,
  work: () => Promise<T>,
  onWait?: OnWait,
): Promise<T> {
  return locked(folder, async (file) => {
    await take(file, onWait);
    return work();
  });
}

/** Leaves the work to others if somebody is at it. */
export async function ifAlone(folder: string, work: () => Promise<void>): Promise<void> {
  await locked(folder, async (file) => {
    if (tryLock(file.fd)) await work();
  });
}

async function take(file: FileHandle, onWait?: OnWait): Promise<void> {
  let next = performance.now() + QUIET_MS;
  let told: { pid: number | undefined } | undefined;
  while (!tryLock(file.fd)) {
    await sleep(AGAIN_MS);
    if (onWait === undefined || performance.now() < next) continue;
    next = performance.now() + QUIET_MS;
    const pid = await holderOf(file);
    if (told !== undefined && told.pid === pid) continue;
    told = { pid };
    onWait(pid);
  }
}

/**
 * Who has the lock, by proc_locks(5). undefined: it is free again, of another PID namespace, or of a file system that stat(2)
 * gives another device number than the kernel's locks have (btrfs).
 */
async function holderOf(file: FileHandle): Promise<number | undefined> {
  const { dev, ino } = await file.stat({ bigint: true });
  const locks = await readFile('/proc/locks', 'latin1').catch(() => '');
  const [major, minor] = [(dev >> 8n) & 0xfffn, (dev & 0xffn) | ((dev >> 12n) & 0xfff00n)];
  const hex = (number: bigint) => number.toString(16).padStart(2, '0');
  const line = new RegExp(
    `^\\d+: FLOCK +ADVISORY +WRITE +(\\d+) ${hex(major)}:${hex(minor)}:${ino} `,
    'm',
  );
  const pid = Number(line.exec(locks)?.[1] ?? 0);
  return pid > 0 ? pid : undefined;
}

async function locked<T>(folder: string, work: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(folder, 'r');
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}
