#!/usr/bin/env node
// node .ci/generated.mjs [--write]: checks that the generated files in the repository are current, or writes them.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorsPage } from './page-errors.mjs';
import { guestAbiPage } from './page-guest-abi.mjs';
import { syscallsPage } from './page-syscalls.mjs';
import { ROOT } from './workspace.mjs';

const GENERATED = [
  { path: 'docs/errors.md', text: errorsPage },
  { path: 'docs/guest-abi.md', text: guestAbiPage },
  { path: 'docs/syscalls.md', text: syscallsPage },
];

const write = process.argv.includes('--write');
for (const { path, text } of GENERATED) {
  const target = join(ROOT, path);
  const wanted = text();
  if (existsSync(target) && readFileSync(target, 'utf8') === wanted) continue;
  if (write) {
    writeFileSync(target, wanted);
  } else {
    console.log(`${path} is stale: run node .ci/generated.mjs --write`);
    process.exitCode = 1;
  }
}
