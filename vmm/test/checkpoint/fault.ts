/**
 * Preloaded into a child: its file-system call number FAULT_AT is its last one (FAULT=kill), or fails (FAULT=ENOSPC).
 * The number of calls is written to the file descriptor 3 at the end.
 */
import { writeSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

const at = Number(process.env.FAULT_AT);
const kill = process.env.FAULT === 'kill';
let calls = 0;

type Method = (this: unknown, ...args: unknown[]) => unknown;

function wrap(target: object, name: string): void {
  const methods = target as Record<string, Method>;
  const original = methods[name]!;
  methods[name] = function (...args) {
    if (++calls === at && kill) process.kill(process.pid, 'SIGKILL');
    if (calls === at) {
      return Promise.reject(
        Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' }),
      );
    }
    return original.apply(this, args);
  };
}

const file = await fs.open(process.execPath, 'r');
const handle = Object.getPrototypeOf(file) as object;
await file.close();
for (const name of ['write', 'writeFile', 'sync', 'truncate']) wrap(handle, name);
for (const name of ['open', 'rename', 'mkdir', 'link', 'copyFile', 'writeFile', 'rm'])
  wrap(fs, name);
syncBuiltinESMExports();
process.on('exit', () => writeSync(3, String(calls)));
