/** The command line as a shell starts it. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const skip = existsSync('/dev/kvm') ? false : 'there is no /dev/kvm';
export const bin = fileURLToPath(new URL('../../../bin/mayfly.js', import.meta.url));
/** A folder for the test file, gone at its end; the current folder of what runs. */
export const dir = mkdtempSync(join(tmpdir(), 'mayfly-cli-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
/** A store of its own, and the distribution's programs. */
export const env = { ...process.env, XDG_CACHE_HOME: join(dir, 'cache'), PATH: '/usr/bin:/bin' };

export interface Outcome {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export function mayfly(args: string[], input: string | Buffer = '', cwd = dir): Outcome {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], {
    input,
    env,
    cwd,
    encoding: 'utf8',
  });
  return { status, signal, stdout, stderr };
}

export const run = (...args: string[]) => mayfly(['run', ...args]);

export function file(name: string, content: string | Buffer, mode = 0o644): string {
  const path = join(dir, name);
  writeFileSync(path, content, { mode });
  return path;
}
