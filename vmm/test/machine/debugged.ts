/** The program that the tests of debugging look at, and gdb in batch mode. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { compile } from './guest.js';

const source = fileURLToPath(new URL('../../../test/machine/debugged.c', import.meta.url));
const lines = readFileSync(source, 'utf8').split('\n');

/** Compiled with all that a debugger wants to know. */
export function debugged(name: string, flags: readonly string[]): string {
  return compile(source, name, ['-g', '-O0', ...flags]);
}

/** The number of the line with the comment `line: NAME`. */
export function lineOf(name: string): number {
  const at = lines.findIndex((line) => line.includes(`line: ${name} `));
  if (at < 0) throw new Error(`no line ${name}`);
  return at + 1;
}

/** What gdb prints when it obeys these commands, one after the other. It is interrupted when it has printed `INTERRUPT`. */
export function gdb(program: string, commands: readonly string[]): Promise<string> {
  const settings = ['set pagination off', 'set debuginfod enabled off', 'set confirm off'];
  const args = [...settings, ...commands].flatMap((command) => ['-ex', command]);
  return new Promise((resolve, reject) => {
    const child = spawn('gdb', ['-nx', '-batch', ...args, program], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
    let output = '';
    let interrupted = false;
    child.stdout.on('data', (chunk) => {
      output += chunk;
      if (interrupted || !output.includes(INTERRUPT)) return;
      interrupted = true;
      setTimeout(() => child.kill('SIGINT'), 300); // once it has sent its `continue`
    });
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timer);
      resolve(output);
    });
  });
}

export const INTERRUPT = 'interrupt me';
