/**
 * step.js TEMPLATE SCRATCH STEP: one change of a store, in copies of TEMPLATE below SCRATCH: first undisturbed, then with
 * each fault at each of its file-system calls. Prints a line of JSON for each copy.
 * step.js TEMPLATE SCRATCH STEP AT: once, and the process dies at that call.
 */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { type Fault, installFaults, withFault } from './fault.js';

await installFaults();
const { steps } = await import('./steps.js');

const [template, scratch, step, at] = process.argv.slice(2) as [string, string, string, string?];
const { change, attemptsMax } = steps[step]!;

async function attempt(fault: Fault, at: number): Promise<number> {
  const dir = join(scratch, `${fault}-${at}`);
  cpSync(template, dir, { recursive: true, preserveTimestamps: true });
  const result = await withFault(fault, at, () => change(dir));
  process.stdout.write(`${JSON.stringify({ dir, fault, at, ...result })}\n`);
  return result.calls;
}

if (at !== undefined) {
  await attempt('SIGKILL', Number(at));
} else {
  const calls = await attempt('none', 0);
  // The calls of a long change are like those of the short ones, of which none is left out.
  for (let i = 1; i <= calls; i += Math.ceil(calls / (attemptsMax ?? calls))) {
    await attempt('kill', i);
    await attempt('ENOSPC', i);
  }
}
