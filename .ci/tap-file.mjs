// Runs one test file as a process of its own and counts the assertions in the TAP that it prints.
import { spawn } from 'node:child_process';
import { inspect } from 'node:util';
import { Parser } from 'tap-parser';

const STDERR_KEPT = 64 * 1024;
/** How long a file that was told to end may take before its output is given up. */
const KILL_GRACE_MS = 2000;

/**
 * Feeds `counts` with every leaf assertion of a TAP stream and of its subtests. The line that closes a subtest
 * counts only if the subtest had no assertion of its own, or if it fails although all of them passed (a wrong plan).
 */
function countLeaves(parser, path, counts) {
  let child;
  parser.on('child', (subtest) => {
    child = { passed: 0, failed: 0, skipped: 0, failures: counts.failures, skips: counts.skips };
    countLeaves(subtest, [...path, subtest.name], child);
  });
  parser.on('assert', (result) => {
    const inner = result.closingTestPoint ? child : undefined;
    child = undefined;
    for (const key of ['passed', 'failed', 'skipped']) counts[key] += inner?.[key] ?? 0;
    const leaves = inner === undefined ? 0 : inner.passed + inner.failed + inner.skipped;
    if (leaves === 0 || (!result.ok && inner?.failed === 0)) countLeaf(result, path, counts);
  });
}

function countLeaf(result, path, counts) {
  const name = [...path, result.name].filter(Boolean).join(' > ');
  if (result.skip || result.todo) {
    counts.skipped += 1;
    counts.skips.push({ name, reason: String(result.skip || result.todo) });
  } else if (result.ok) {
    counts.passed += 1;
  } else {
    counts.failed += 1;
    counts.failures.push({ name, detail: describe(result.diag) });
  }
}

/** A diagnostic as indented text: strings as they are, everything else as Node.js shows it. */
function describe(diag) {
  if (!diag) return '';
  return Object.entries(diag)
    .map(([key, value]) => {
      const text = typeof value === 'string' ? value : inspect(value, { depth: 8 });
      return text.includes('\n')
        ? `${key}:\n${text.trimEnd().replace(/^/gm, '  ')}`
        : `${key}: ${text}`;
    })
    .join('\n');
}

const running = new Set();

/** Stops every test file that still runs, with all processes that it started. */
export function stopAll() {
  for (const pid of running) killGroup(pid);
}

function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/**
 * Resolves with {passed, failed, skipped, failures: [{name, detail}], skips: [{name, reason}], seconds}.
 * A file that dies, prints no TAP or runs longer than `timeoutMs` has one failure more; it never rejects.
 */
export function runTapFile(script, { cwd, timeoutMs }) {
  const start = performance.now();
  const counts = { passed: 0, failed: 0, skipped: 0, failures: [], skips: [] };
  const parser = new Parser();
  countLeaves(parser, [], counts);
  // tap's own 30 s are too short for a busy machine; it ends a little earlier than here, and tells what hangs.
  const tapSeconds = (timeoutMs * 0.95) / 1000;
  const child = spawn(process.execPath, ['--enable-source-maps', script], {
    cwd,
    detached: true, // leads a process group, so that a timeout ends its children too
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0', TAP_TIMEOUT: `${tapSeconds}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child.pid);
  let stderr = '';
  child.stderr.on('data', (data) => {
    stderr = (stderr + data).slice(-STDERR_KEPT);
  });
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup(child.pid);
    setTimeout(() => child.stdout.destroy(), KILL_GRACE_MS).unref();
  }, timeoutMs);
  return new Promise((resolve) => {
    child.on('error', (error) => finish(error.message));
    child.on('exit', () => killGroup(child.pid)); // what a test left behind would hold its output open
    child.on('close', (code, signal) => finish(endOf(code, signal)));
    child.stdout.pipe(parser, { end: false });

    function endOf(code, signal) {
      parser.end();
      if (timedOut) return `ran longer than ${timeoutMs / 1000} s`;
      if (counts.failed > 0) return undefined;
      if (signal !== null || code !== 0) return `ended with ${signal ?? `exit code ${code}`}`;
      return parser.results.ok ? undefined : 'printed no complete TAP';
    }

    function finish(problem) {
      clearTimeout(timer);
      running.delete(child.pid);
      if (problem !== undefined) {
        counts.failed += 1;
        counts.failures.push({ name: problem, detail: stderr.trimEnd() });
      }
      resolve({ ...counts, seconds: (performance.now() - start) / 1000 });
    }
  });
}
