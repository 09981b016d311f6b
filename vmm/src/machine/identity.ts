/** What a machine is given that no other has, before the first instruction of each life. */
import { randomInt } from 'node:crypto';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { MayflyError } from '@mayfly/protocol';
import type { SharedPage } from './shared-page.js';

let generations = randomInt(2 ** 47);

/** A generation that no other machine of this process has, and hardly one of another. */
function freshGeneration(): number {
  generations += 1;
  return generations;
}

const PID_FIRST = 300;
/** Below Linux's pid_max (proc(5)). */
const PID_COUNT = 4_000_000;
/** Prime, no divisor of PID_COUNT: its multiples pass through all numbers before one comes again. */
const PID_STEP = 1_618_033;

const PIDS_KEY = 'mayfly.pids';

/** Machines so far of all threads: worker threads get what the thread that starts them has loaded. */
const pids = new Uint32Array(sharedPids());

function sharedPids(): SharedArrayBuffer {
  const known = getEnvironmentData(PIDS_KEY);
  if (known instanceof SharedArrayBuffer) return known;
  const fresh = new SharedArrayBuffer(4);
  new Uint32Array(fresh)[0] = randomInt(PID_COUNT);
  setEnvironmentData(PIDS_KEY, fresh);
  return fresh;
}

/**
 * A process id that the last four million machines of this process did not have: what is derived from it differs too.
 * Never `taken`: OpenSSL keeps its random state when the id is the one that its template had.
 */
export function freshPid(taken?: number): number {
  const pid = PID_FIRST + ((Atomics.add(pids, 0, 1) * PID_STEP) % PID_COUNT);
  return pid === taken ? freshPid() : pid;
}

/** sethostname(2): at most 63 bytes here, and what RFC 1123, 2.1 allows in a name. */
const HOSTNAME = /^(?!-)[0-9A-Za-z.-]{1,63}$/;

/** Throws MAYFLY_BAD_HOSTNAME. */
export function checkHostname(name: string): void {
  if (HOSTNAME.test(name)) return;
  const message = `a host name has 1 to 63 letters, digits, dots and hyphens, unlike '${name}'`;
  throw new MayflyError('MAYFLY_BAD_HOSTNAME', message);
}

/** For a machine that boots. */
export function firstIdentity(shared: SharedPage): void {
  shared.newGeneration(1, freshPid());
}

/**
 * For a clone that is about to begin a life. `capturedAt` is the guest's CLOCK_MONOTONIC of its template, ns: it goes on
 * from there. The shared page is still the template's.
 */
export function newIdentity(shared: SharedPage, capturedAt: bigint, hostname?: string): void {
  const monoOffset = capturedAt - process.hrtime.bigint();
  shared.newGeneration(freshGeneration(), freshPid(shared.pid), monoOffset);
  if (hostname !== undefined) shared.setHostname(hostname);
}
