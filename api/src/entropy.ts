import { randomFillSync } from 'node:crypto';

/** One system call for some hundred invocations; each byte is given once. */
const pool = Buffer.alloc(16 * 1024);
let used = pool.length;

/** Fresh random bytes, at most 16 KiB, there until the next call. */
export function freshBytes(count: number): Buffer {
  if (used + count > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += count;
  return pool.subarray(used - count, used);
}
