#!/usr/bin/env node
// npm test [-- [--timeout SECONDS] NAME...]: runs the test files whose name contains one of the NAMEs (all without).
//
// A test file is `<package>/dist/test/**/*.test.js` whose source `<package>/test/**/*.test.ts` exists, or the hook for
// tests in other languages: an executable `<package>/test/run.mjs`, run from its package's folder, that prints TAP.
// Each is a process of its own. Files that use KVM run one after the other, the rest two at a time. Where there is no
// /dev/kvm, files named kvm-* are one skipped test each.
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { runTapFile, stopAll } from './tap-file.mjs';
import { ROOT, workspaceFolders } from './workspace.mjs';

/** For what hangs; a slow machine needs some minutes for the longest. */
const TIMEOUT_S = 600;
const AT_A_TIME = 2;
const HAS_KVM = existsSync('/dev/kvm');

/** The test files of a package as {name, script, cwd, usesKvm}; the name is `vmm/virtio/queue` or `firmware/run`. */
function testFiles(folder) {
  const cwd = join(ROOT, folder);
  const compiled = compiledTests(join(cwd, 'test')).map((path) => ({
    name: `${folder}/${path}`,
    script: join(cwd, 'dist/test', `${path}.test.js`),
    cwd,
  }));
  const hook = join(cwd, 'test/run.mjs');
  const all = isExecutable(hook)
    ? [...compiled, { name: `${folder}/run`, script: hook, cwd }]
    : compiled;
  return all.map((file) => ({ ...file, usesKvm: usesKvm(file.script) }));
}

/** Paths below `folder` of the test sources, without their ending. */
function compiledTests(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .filter((path) => path.endsWith('.test.ts'))
    .map((path) => path.slice(0, -'.test.ts'.length))
    .sort();
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether a file's text says that it starts machines: those are timed by the wall clock and want the cores. */
function usesKvm(script) {
  return (
    existsSync(script) &&
    /kvm|@mayfly\/(vmm|api)|run\.mjs/i.test(readFileSync(script, 'utf8') + script)
  );
}

const needsKvm = (name) => basename(name).startsWith('kvm-');

const WITHOUT_KVM = {
  passed: 0,
  failed: 0,
  skipped: 1,
  seconds: 0,
  failures: [],
  skips: [{ name: 'the whole file', reason: 'there is no /dev/kvm' }],
};

/** Runs `files`, `limit` at a time, and prints each result when it is there. */
async function runAll(files, limit, timeoutMs) {
  const queue = [...files];
  const results = [];
  async function lane() {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const result =
        !HAS_KVM && needsKvm(file.name)
          ? WITHOUT_KVM
          : judge(await runTapFile(file.script, { cwd: file.cwd, timeoutMs }));
      report(file.name, result);
      results.push(result);
    }
  }
  await Promise.all(Array.from({ length: limit }, lane));
  return results;
}

/** A test that needs KVM has no excuse on a machine that has it: such a skip is a failure. */
function judge(result) {
  const excused = result.skips.filter(({ reason }) => !(HAS_KVM && /kvm/i.test(reason)));
  const refused = result.skips.filter((skip) => !excused.includes(skip));
  const failures = refused.map(({ name, reason }) => ({
    name,
    detail: `skipped although /dev/kvm exists: ${reason}`,
  }));
  return {
    ...result,
    skips: excused,
    skipped: result.skipped - refused.length,
    failed: result.failed + refused.length,
    failures: [...result.failures, ...failures],
  };
}

function report(name, result) {
  const { passed, failed, skipped, seconds, failures, skips } = result;
  const counts = `${passed} passed${failed ? `, ${failed} failed` : ''}${skipped ? `, ${skipped} skipped` : ''}`;
  console.log(
    `${failed ? 'FAIL' : 'ok  '} ${name.padEnd(40)} ${seconds.toFixed(1).padStart(6)} s  ${counts}`,
  );
  for (const failure of failures) {
    console.log(`  not ok: ${failure.name}`);
    if (failure.detail) console.log(failure.detail.replace(/^/gm, '      '));
  }
  for (const skip of skips) console.log(`  skipped: ${skip.name}: ${skip.reason}`);
}

const { values, positionals } = parseArgs({
  options: { timeout: { type: 'string', default: String(TIMEOUT_S) } },
  allowPositionals: true,
});
const timeoutMs = Number(values.timeout) * 1000;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    stopAll();
    process.exit(130);
  });
}

const files = workspaceFolders()
  .filter((folder) => folder !== '.')
  .flatMap(testFiles)
  .filter(
    ({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
  );
if (!(timeoutMs > 0) || (files.length === 0 && positionals.length > 0)) {
  console.error('usage: npm test [-- [--timeout SECONDS] NAME...]; no test file has such a name');
  process.exit(2);
}
const results = [
  ...(await runAll(
    files.filter((file) => !file.usesKvm),
    AT_A_TIME,
    timeoutMs,
  )),
  ...(await runAll(
    files.filter((file) => file.usesKvm),
    1,
    timeoutMs,
  )),
];
const sum = (key) => results.reduce((total, result) => total + result[key], 0);
console.log(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
process.exitCode = sum('failed') > 0 ? 1 : 0;
