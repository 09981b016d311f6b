/** What `mayfly` starts. */
import { EXIT_PIPE } from './output.js';
import { runCommandLine } from './program.js';

/** Output that nobody takes ends a command, unless the command itself sees to its streams. */
process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
  if (process.stdout.listenerCount('error') > 1) return;
  if (code === 'EPIPE') process.exit(EXIT_PIPE);
  process.stderr.write(`mayfly: MAYFLY_OUTPUT_CLOSED: standard output: ${message}\n`);
  process.exit(1);
});
process.stderr.on('error', () => {}); // nowhere to tell it

process.exitCode = await runCommandLine(process.argv.slice(2), {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  env: process.env,
});
