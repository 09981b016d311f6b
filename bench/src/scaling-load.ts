/** A pool of WORKERS that answers events of a Node.js function for MS milliseconds. Prints answers a second. */
import { MachinePool } from '@mayfly/vmm';
import { checkAnswer, eventBody, eventHead, scratchFolder, templateSpec } from './templates.js';

/** Clones of each worker, so that none of them ever waits. */
const LANES = 4;
const TIMEOUT_MS = 120_000;

const [workers, durationMs] = process.argv.slice(2).map(Number) as [number, number];
const scratch = scratchFolder();
const pool = new MachinePool({ directory: scratch.path, workers });

/** Answers a second. */
async function load(ms: number): Promise<number> {
  const start = performance.now();
  let count = 0;
  const lane = async (_: unknown, clone: number) => {
    const options = { place: { worker: clone % workers, clone }, timeoutMs: TIMEOUT_MS };
    for (; performance.now() - start < ms; count++) {
      const frame = { head: eventHead(), body: eventBody() };
      checkAnswer((await pool.invoke('node', frame, options)).head);
    }
  };
  await Promise.all(Array.from({ length: workers * LANES }, lane));
  return count / ((performance.now() - start) / 1000);
}

try {
  await pool.deploy(await templateSpec('node'));
  await load(durationMs / 3); // the workers make their clones
  console.log(await load(durationMs));
} finally {
  await pool.close();
  scratch.remove();
}
