// Runs the steps of a script: one progress line each, the command's output only if it fails.
import { spawn } from 'node:child_process';

/** A step that went wrong; its message is all that the user needs to see. */
export class StepError extends Error {}

/** Seconds since `start` (performance.now()), as text. */
export const secondsSince = (start) => `${((performance.now() - start) / 1000).toFixed(1)} s`;

/**
 * Returns a function `step(title, work)`: awaits `work()` and prints its title with the time it took.
 * `work` resolves to a note that is added to the line, or to undefined.
 */
export function stepPrinter({ quiet }) {
  return async (title, work) => {
    const start = performance.now();
    const note = await work();
    const suffix = note === undefined ? '' : ` (${note})`;
    if (!quiet) console.log(`  ${title.padEnd(18)} ${secondsSince(start).padStart(7)}${suffix}`);
  };
}

/** Runs a program and resolves with its standard output; a failure throws with everything that it printed. */
export function run(command, args, { cwd, env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let all = '';
    child.stdout.on('data', (data) => {
      stdout += data;
      all += data;
    });
    child.stderr.on('data', (data) => {
      all += data;
    });
    const title = `${command} ${args.join(' ')}`;
    child.on('error', (error) => reject(new StepError(`${title}: ${error.message}`)));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(stdout);
      else reject(new StepError(`${all.trimEnd()}\n${title}: ended with ${signal ?? code}`));
    });
  });
}
