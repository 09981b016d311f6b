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
const change = steps[step]!.change;

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
  for (let i = 1; i <= calls; i++) {
    await attempt('kill', i);
    await attempt('ENOSPC', i);
  }
}
