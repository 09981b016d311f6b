// Called by .ci/run: the tests and the linters, in a clean checkout too. Each linter counts as one.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ROOT } from './workspace.mjs';

const SUMMARY = /^(\d+) passed, (\d+) failed, (\d+) skipped$/;
const tool = (name) => join(ROOT, 'node_modules/.bin', name);

const LINTERS = [
  { name: 'biome', command: [tool('biome'), 'ci', '--colors=off', '.'] },
  { name: 'typescript', command: [tool('tsc'), '-b'] },
  { name: 'generated files', command: [process.execPath, join(ROOT, '.ci/generated.mjs')] },
  { name: 'links', command: [process.execPath, join(ROOT, '.ci/links.mjs')] },
];

/** Runs a command, passes the lines that it prints to `onLine` and resolves with its exit code (1 for a signal). */
function run([command, ...args], onLine) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const input of [child.stdout, child.stderr]) createInterface({ input }).on('line', onLine);
    child.on('error', (error) => {
      console.error(error.message);
      resolve(1);
    });
    child.on('close', (code) => resolve(code ?? 1));
  });
}

/** The tests' own counts; their summary line is held back, since this script prints the one that counts. */
async function runTests() {
  let counts;
  const code = await run(['npm', 'test', '--silent'], (line) => {
    const match = SUMMARY.exec(line);
    if (match === null) console.log(line);
    else counts = match.slice(1).map(Number);
  });
  const [passed, failed, skipped] = counts ?? [0, 0, 0];
  return { passed, failed: code !== 0 && failed === 0 ? 1 : failed, skipped };
}

async function runLinters() {
  let failed = 0;
  for (const { name, command } of LINTERS) {
    const lines = [];
    const code = await run(command, (line) => lines.push(line));
    console.log(`${code === 0 ? 'ok  ' : 'FAIL'} ${name}`);
    if (code === 0) continue;
    failed += 1;
    console.log(lines.join('\n').replace(/^/gm, '      '));
  }
  return { passed: LINTERS.length - failed, failed };
}

const tests = await runTests();
const linters = await runLinters();
const failed = tests.failed + linters.failed;
console.log(`${tests.passed + linters.passed} passed, ${failed} failed, ${tests.skipped} skipped`);
process.exitCode = failed === 0 ? 0 : 1;
