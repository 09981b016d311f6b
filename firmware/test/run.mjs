#!/usr/bin/env node
// Parts of the guest kernel, built for the host with sanitizers, as TAP: one test for each target of test/host.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const host = fileURLToPath(new URL('host/', import.meta.url));
const isRoot = process.getuid() === 0;

const TESTS = [
  { name: 'files, images and /proc, as on Linux', args: ['check'], root: true },
  { name: 'rings and inboxes', args: ['-f', 'virtio.mk', 'check-virtio'], root: false },
];

console.log(`TAP version 14\n1..${TESTS.length}`);
for (const [index, { name, args, root }] of TESTS.entries()) {
  if (root && !isRoot) {
    console.log(`ok ${index + 1} - ${name} # SKIP compares with Linux in a chroot, so needs root`);
    continue;
  }
  const { status, stdout, stderr } = spawnSync('make', ['--no-print-directory', ...args], {
    cwd: host,
    encoding: 'utf8',
  });
  console.log(`${status === 0 ? 'ok' : 'not ok'} ${index + 1} - ${name}`);
  if (status === 0) continue;
  const output = `${stdout}${stderr}`.trimEnd().replace(/^/gm, '    ');
  console.log(`  ---\n  output: |\n${output}\n  ...`);
}
