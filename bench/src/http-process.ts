/** A server in a process of its own, so that the client's work is not its. It tells its parent its URLs. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface ServerProcess<Urls> {
  urls: Urls;
  /** What its memory is now, in KiB. */
  residentKiB(): number;
  stop(): Promise<void>;
}

/** @param script beside this file; it gets `args` */
export async function startServers<Urls>(
  script: string,
  args: readonly string[] = [],
): Promise<ServerProcess<Urls>> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const child = fork(path, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the servers ended with exit code ${code}`);
  });
  const [urls] = await Promise.race([once(child, 'message'), ended]);
  ended.catch(() => {});
  return { urls: urls as Urls, residentKiB: () => residentKiB(child), stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = once(child, 'exit');
  child.disconnect();
  await ended;
}

/** VmRSS of proc_pid_status(5). */
function residentKiB({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
}
