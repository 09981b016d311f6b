/** Commands that wait until another process is done with their store. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as Tap from 'tap';
import t from 'tap';
import { golden } from './support/checkpoints.js';
import { bin, dir, env, mayfly } from './support/command.js';

const HOLDER = fileURLToPath(new URL('support/store-holder.js', import.meta.url));

function start(t: Tap.Test, script: string, ...args: string[]) {
  const child = spawn(process.execPath, [script, ...args], { env });
  t.teardown(() => child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    output.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output.stderr += chunk;
  });
  const closed = once(child, 'close').then(([code, signal]) => ({ code, signal, ...output }));
  return { child, output, closed };
}

/** A store with the golden checkpoints, and a process that is alone in it. */
async function heldStore(t: Tap.Test, name: string) {
  const store = join(dir, name);
  t.equal(mayfly(['checkpoint', 'import', '--store', store, golden]).status, 0);
  const { child, closed } = start(t, HOLDER, store);
  await once(child.stdout, 'data');
  const release = () => {
    child.stdin.end();
    return closed;
  };
  return { store, holder: child.pid, release };
}

t.test('for whom a command waits is told, then it goes on', async (t) => {
  const { store, holder, release } = await heldStore(t, 'told');
  const { child, closed } = start(t, bin, 'checkpoint', 'rm', '--store', store, 'second');
  const told = `  waiting until process ${holder} is done with ${store}\n`;
  t.equal(String((await once(child.stderr, 'data'))[0]), told);
  const listed = mayfly(['checkpoint', 'ls', '--store', store]);
  t.match(listed, { status: 0, stdout: /\nsecond /, stderr: '' }, 'who reads waits for nobody');
  await release();
  t.match(await closed, { code: 0, stdout: 'removed second\n', stderr: told });
});

t.test('of what follows in line, each is told', async (t) => {
  const { store, holder, release } = await heldStore(t, 'line');
  const { child, output, closed } = start(t, bin, 'checkpoint', 'rm', '--store', store, 'second');
  await once(child.stderr, 'data');
  const next = start(t, HOLDER, store);
  const isNext = once(next.child.stdout, 'data');
  // Whichever is sooner: the lock goes to one of the two.
  child.kill('SIGSTOP');
  await release();
  await isNext;
  child.kill('SIGCONT');
  await once(child.stderr, 'data');
  next.child.stdin.end();
  t.match(await closed, { code: 0 });
  const told = [holder, next.child.pid].map((pid) => `  waiting until process ${pid} is done`);
  t.same(
    output.stderr
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/ with .*/, '')),
    told,
  );
});

t.test('JSON comes without it', async (t) => {
  const { store, release } = await heldStore(t, 'json');
  const { closed } = start(t, bin, 'checkpoint', 'revert', '--json', '--store', store, 'second');
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await release();
  t.match(await closed, { code: 0, stdout: /^\{/, stderr: '' });
});

t.test('Ctrl-C ends it, and changes nothing', async (t) => {
  const { store, release } = await heldStore(t, 'interrupted');
  const waiting = [
    start(t, bin, 'checkpoint', 'rm', '--store', store, 'first'),
    start(t, bin, 'checkpoint', 'import', '--store', store, golden, '--name', 'third'),
  ];
  await Promise.all(waiting.map(({ child }) => once(child.stderr, 'data')));
  for (const { child, closed } of waiting) {
    child.kill('SIGINT');
    t.match(await closed, { code: null, signal: 'SIGINT' }, 'which shells call 130');
  }
  await release();
  const { checkpoints } = JSON.parse(
    mayfly(['checkpoint', 'ls', '--json', '--store', store]).stdout,
  );
  t.same(
    checkpoints.map(({ name }: { name: string }) => name),
    ['first', 'second'],
  );
  t.same(
    readdirSync(join(store, 'checkpoints')).sort(),
    ['first', 'second'],
    'nothing is left over',
  );
});
