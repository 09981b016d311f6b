/**
 * Clones of one template start with the same memory. Here is everything of Node that would therefore give two clones
 * the same "random" value, and how it is made unique again. The guest kernel does the rest: getrandom() is fresh, and a
 * new pid makes OpenSSL reseed itself.
 *
 *   Math.random          V8 seeds it once a process        → our generator, seeded for each clone
 *   crypto.randomUUID    keeps 128 values in advance        → its cache is bypassed
 *   crypto.randomInt     keeps 1024 values in advance       → drawn without its cache
 *   process.pid          read once at start                 → read again in each clone
 *   random bytes that packages keep in advance              → filled anew, see random-stores.ts
 */
import crypto from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { refillRandomStores, watchRandomStores } from './random-stores.js';

/** What a function registers with mayfly.afterClone(); awaited before the invocation. */
export type AfterCloneHook = (clone: { generation: string }) => unknown;

const hooks: AfterCloneHook[] = [];
/** State of sfc32 (C. Doty-Humphrey's small fast counting generator): three words of chaos and a counter. */
let a = 0;
let b = 0;
let c = 0;
let counter = 0;
let pid: number | undefined;

/** Takes the place of Node's functions; call it before the user's code can have taken a reference to them. */
export function installUnique(): void {
  seedRandom(crypto.randomBytes(16));
  Math.random = random;
  bypassRandomUuidCache();
  bypassRandomIntCache();
  watchRandomStores();
  syncBuiltinESMExports();
  const pidAtStart = process.pid;
  Object.defineProperty(process, 'pid', {
    get: () => {
      pid ??= readPid(pidAtStart);
      return pid;
    },
    enumerable: true,
    configurable: true,
  });
  const mayfly = Object.freeze({
    afterClone: (hook: AfterCloneHook) => {
      if (typeof hook !== 'function') throw new TypeError('mayfly.afterClone wants a function');
      hooks.push(hook);
    },
  });
  Object.defineProperty(globalThis, 'mayfly', { value: mayfly, configurable: true });
}

/**
 * Makes this clone differ from all others, before any code of the function runs. The promise is undefined when there
 * is no hook to wait for.
 *
 * @param entropy base64, at least 16 bytes
 */
export function makeUnique(entropy: string, generation: string): Promise<void> | undefined {
  seedRandom(Buffer.from(entropy, 'base64'));
  pid = undefined;
  refillRandomStores();
  return hooks.length > 0 ? runHooks(generation) : undefined;
}

/** What `work` does is no clone's: hooks wait for one. */
export async function withoutHooks(work: () => Promise<void>): Promise<void> {
  const waiting = hooks.splice(0);
  await work();
  hooks.push(...waiting);
}

async function runHooks(generation: string): Promise<void> {
  for (const hook of hooks) await hook({ generation });
}

/** Seeds Math.random alone. */
export function seedRandom(entropy: Buffer): void {
  a = entropy.readInt32LE(0);
  b = entropy.readInt32LE(4);
  c = entropy.readInt32LE(8);
  counter = entropy.readInt32LE(12);
  for (let i = 0; i < 12; i++) nextWord();
}

/** 53 random bits in [0, 1), as many as a double holds. */
function random(): number {
  return ((nextWord() >>> 5) * 0x4000000 + (nextWord() >>> 6)) / 0x20000000000000;
}

function nextWord(): number {
  const word = (a + b + counter) | 0;
  counter = (counter + 1) | 0;
  a = b ^ (b >>> 9);
  b = (c + (c << 3)) | 0;
  c = (((c << 21) | (c >>> 11)) + word) | 0;
  return word;
}

function bypassRandomUuidCache(): void {
  const cached = crypto.randomUUID;
  const fresh = () => cached({ disableEntropyCache: true });
  crypto.randomUUID = fresh as typeof crypto.randomUUID;
  Object.getPrototypeOf(crypto.webcrypto).randomUUID = fresh;
}

function bypassRandomIntCache(): void {
  type Callback = (error: Error | null, value: number) => void;
  const cached = crypto.randomInt as (...args: unknown[]) => number;
  const fresh = (...args: unknown[]): number | undefined => {
    const callback = typeof args.at(-1) === 'function' ? (args.pop() as Callback) : undefined;
    // Node's own function checks the arguments; what it draws is thrown away.
    if (callback) args.push(() => callback(null, draw(...bounds)));
    const bounds = (typeof args[1] === 'number' ? [args[0], args[1]] : [0, args[0]]) as [
      number,
      number,
    ];
    const unused = cached(...args);
    return callback ? undefined : unused !== undefined ? draw(...bounds) : undefined;
  };
  crypto.randomInt = fresh as typeof crypto.randomInt;
}

/** An integer in [min, max), without bias: draws that fall into the incomplete last stretch are repeated. */
function draw(min: number, max: number): number {
  const range = max - min;
  const limit = 2 ** 48 - (2 ** 48 % range);
  for (;;) {
    const value = crypto.randomBytes(6).readUIntBE(0, 6);
    if (value < limit) return min + (value % range);
  }
}

function readPid(pidAtStart: number): number {
  try {
    return Number(readlinkSync('/proc/self'));
  } catch {
    return pidAtStart; // No /proc: nothing better is known to JavaScript.
  }
}
