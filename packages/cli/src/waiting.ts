/** Says what takes long. */
import type { Io } from './output.js';

/** What takes less is not worth a line. */
const QUIET_MS = 1000;

/** Tells, on standard error, what is waited for when it is not there soon. */
export async function waiting<T>(io: Io, what: string, work: Promise<T>): Promise<T> {
  const timer = setTimeout(() => io.stderr(`  waiting until ${what}\n`), QUIET_MS);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}
