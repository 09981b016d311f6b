// What a Node.js clone draws and sees. Some of it is drawn while the function loads, so that the template has it.
import crypto from 'node:crypto';
import { mkdtempSync, readFileSync } from 'node:fs';
import os from 'node:os';

const text = (path) => readFileSync(path, 'latin1').trim();

function draw() {
  return {
    'crypto.randomUUID': crypto.randomUUID(),
    'globalThis.crypto.randomUUID': globalThis.crypto.randomUUID(),
    'crypto.randomBytes': crypto.randomBytes(16).toString('hex'),
    'crypto.randomInt': crypto.randomInt(2 ** 48 - 1),
    'crypto.getRandomValues': globalThis.crypto.getRandomValues(new Uint32Array(4)).join(),
    'Math.random': Math.random(),
    'temporary file name': mkdtempSync('/tmp/probe-'),
  };
}

draw();
// As nanoid and uuid do.
const store = crypto.randomFillSync(Buffer.alloc(2688));
const hooked = [];
globalThis.mayfly?.afterClone(({ generation }) => void hooked.push(generation));

export function handler() {
  const monoMs = performance.now();
  const wallMs = Date.now();
  return {
    wallMs,
    monoMs,
    unique: {
      ...draw(),
      'random bytes kept in advance': store.toString('hex', 0, 16),
      'process id': process.pid,
      'machine id': text('/etc/machine-id'),
      'boot id': text('/proc/sys/kernel/random/boot_id'),
      'kernel uuid': text('/proc/sys/kernel/random/uuid'),
      generation: text('/dev/generation'),
      'generation told to hooks': hooked.join(),
    },
    same: { 'host name': os.hostname(), 'hooks that ran': hooked.length },
  };
}
