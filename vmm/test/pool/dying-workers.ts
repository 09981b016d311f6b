/** A program that waits for nothing but invocations in workers that die, and says how each ended. */
import { MachinePool } from '../../src/pool/machine-pool.js';

const [directory = '', deaths = '1'] = process.argv.slice(2);
const worker = new URL('./script-worker.js', import.meta.url);
const pool = new MachinePool({ directory, workers: 1, worker });
const limits = { memoryBytes: 1 << 20, bootTimeoutMs: 1000 };
await pool.deploy({ name: 'f', images: [], argv: ['/f'], env: {}, ...limits });
for (let i = 0; i < Number(deaths); i++) {
  const frame = { head: { command: 'die', count: 1, ms: 1 }, body: new Uint8Array(0) };
  const place = { worker: 0, clone: i };
  const end = pool.invoke('f', frame, { timeoutMs: 20_000, place }).then((result) => result.end);
  console.log(await end.catch(({ code }) => code));
}
await pool.close();
