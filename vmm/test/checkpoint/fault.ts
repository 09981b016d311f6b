/**
 * File-system calls that fail on purpose. Within `withFault` the call number `at` is the last one ('kill': it and all
 * later ones of this work never return, as in a process that is gone), or it fails ('ENOSPC').
 *
 * What a killed work leaves behind belongs to this process: who looks at it must be another one.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

export type Fault = 'none' | 'kill' | 'ENOSPC' | 'SIGKILL';

interface Attempt {
  fault: Fault;
  at: number;
  calls: number;
  killed: () => void;
}

export interface AttemptResult {
  /** 'ended': nothing went wrong. */
  end: 'ended' | 'failed' | 'killed';
  /** With which it failed. */
  code?: string;
  calls: number;
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

const attempts = new AsyncLocalStorage<Attempt>();
const never = new Promise<never>(() => {});

function wrap(target: object, name: string): void {
  const methods = target as Record<string, Method>;
  const original = methods[name]!;
  methods[name] = function (...args) {
    const attempt = attempts.getStore();
    return (attempt && meet(attempt)) ?? original.apply(this, args);
  };
}

/** Counts the call; what it returns instead of doing its work, if anything. */
function meet(attempt: Attempt): Promise<never> | undefined {
  const { fault, at } = attempt;
  const calls = ++attempt.calls;
  if (fault === 'kill' && calls >= at) {
    attempt.killed();
    return never;
  }
  if (calls !== at) return undefined;
  if (fault === 'SIGKILL') process.kill(process.pid, 'SIGKILL');
  if (fault !== 'ENOSPC') return undefined;
  const error = new Error('ENOSPC: no space left on device');
  return Promise.reject(Object.assign(error, { code: 'ENOSPC', errno: -28, syscall: 'write' }));
}

/** Call once, before modules that use these functions are loaded. */
export async function installFaults(): Promise<void> {
  const file = await fs.open(process.execPath, 'r');
  const handle = Object.getPrototypeOf(file) as object;
  await file.close();
  for (const name of ['write', 'writeFile', 'sync', 'truncate']) wrap(handle, name);
  for (const name of ['open', 'rename', 'mkdir', 'link', 'copyFile', 'writeFile', 'rm']) {
    wrap(fs, name);
  }
  syncBuiltinESMExports();
}

export function withFault(
  fault: Fault,
  at: number,
  work: () => Promise<unknown>,
): Promise<AttemptResult> {
  return new Promise((resolve) => {
    const end = (how: AttemptResult['end']) => (error?: unknown) => {
      const code = how === 'failed' ? (error as { code: string }).code : undefined;
      resolve({ end: how, calls: attempt.calls, ...(code !== undefined && { code }) });
    };
    const attempt: Attempt = { fault, at, calls: 0, killed: end('killed') };
    attempts.run(attempt, () => work().then(end('ended'), end('failed')));
  });
}
