/** A server in a process of its own, so that the client's work is not its. It tells its parent its URLs. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface ServerProcess<Urls> {
  urls: Urls;
  /** What its memory is now, in KiB. */
  residentKiB(): number;
  processorTime(): ProcessorTime;
  stop(): Promise<void>;
}

/** Microseconds so far. */
export interface ProcessorTime {
  /** Of the main thread. */
  main: number;
  /** Of all others. */
  others: number;
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
  return {
    urls: urls as Urls,
    residentKiB: () => residentKiB(child),
    processorTime: () => processorTime(child.pid!),
    stop: () => stop(child),
  };
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

/** Threads that have ended are not counted. */
export function processorTime(pid: number): ProcessorTime {
  const time: ProcessorTime = { main: 0, others: 0 };
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    // Documentation/scheduler/sched-stats.rst of Linux: nanoseconds on a processor, waiting for one, number of times.
    const schedstat = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8');
    const micros = Number(schedstat.split(' ', 1)) / 1000;
    time[Number(thread) === pid ? 'main' : 'others'] += micros;
  }
  return time;
}
