/** `mayfly checkpoint` where no machine runs: on the golden checkpoint of the VMM's tests. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { CheckpointStore } from '@mayfly/vmm/checkpoint';
import t from 'tap';
import { runCommandLine } from '../src/index.js';
import { golden } from './support/checkpoints.js';
import { bin, dir, env, mayfly } from './support/command.js';

const stores = join(dir, 'stores');

/** In this process, which is sooner. */
async function command(...args: string[]) {
  const out = { status: 0, stdout: '', stderr: '' };
  out.status = await runCommandLine(args, {
    stdout: (text) => {
      out.stdout += text;
    },
    stderr: (text) => {
      out.stderr += text;
    },
    env,
  });
  process.exitCode = 0;
  return out;
}

/** Commands of a store of its own. */
function storeOf(name: string) {
  const store = join(stores, name);
  const run = (name: string, ...args: string[]) =>
    command('checkpoint', name, '--store', store, ...args);
  const json = async (name: string, ...args: string[]) => {
    const { stdout, stderr, status } = await run(name, '--json', ...args);
    return { ...JSON.parse(stdout), stderr, status };
  };
  return { store, run, json };
}

const names = ({ checkpoints }: { checkpoints: { name: string }[] }) =>
  checkpoints.map(({ name }) => name);

t.test('import, ls, inspect, diff', async (t) => {
  const { store, run, json } = storeOf('a');
  t.match(await run('ls'), { status: 0, stdout: 'no checkpoints\n' });
  const imported = /^imported first \([0-9a-f]{16}\)\nimported second \([0-9a-f]{16}\)\n$/;
  t.match(await run('import', golden), { status: 0, stdout: imported, stderr: '' });
  t.match(await run('ls'), { stdout: /^NAME .*\nfirst .* 32K +4M .*golden an argument/ });
  t.match(await run('ls', '--tree'), { stdout: /\n└─ first .*\n {3}└─ second +first +4K/ });
  t.match(await run('ls', '-q'), { stdout: 'first\nsecond\n' });
  t.match(await json('ls'), {
    broken: [],
    checkpoints: [{ parentName: null }, { parentName: 'first', storedBytes: 4096 }],
  });
  const { id, ...inspected } = await json('inspect', 'first');
  t.match(inspected, { status: 0, children: ['second'], layers: [{ present: true, size: 4096 }] });
  t.equal(inspected.workingSetPages, null);
  const stored = await CheckpointStore.open(store);
  await stored.keepWorkingSet(id, Uint32Array.of(1, 2, 8, 1));
  t.match(await run('inspect', 'first'), { stdout: /\nworking set +3 pages \(12K\), copied/ });
  t.equal((await json('inspect', 'first')).workingSetPages, 3);
  t.match(await run('inspect', id), {
    stdout: /^name +first\n.*\nCPU features +fpu lm sse sse2\n/s,
  });
  t.match(await run('diff', 'first', 'second'), {
    stdout:
      /^1 pages differ \(4K\)\n {2}guest kernel +1 pages .*0x201000\n\nvcpu +rbx +0x5 → 0x6\n$/,
  });
  t.match(await json('diff', 'second', 'first'), {
    pages: 1,
    regions: [{ name: 'guest kernel', runs: [[0x201, 1]] }],
    changes: [{ part: 'vcpu', what: 'rbx', from: '0x6', to: '0x5' }],
  });
  t.match(await run('diff', 'first', 'first'), { stdout: 'first and first are the same\n' });
});

t.test('export and import, by a file and by a pipe', async (t) => {
  const { run, json } = storeOf('a');
  const [chain, whole] = [join(dir, 'chain.tar'), join(dir, 'whole.tgz')];
  t.match(await run('export', 'second', chain), {
    status: 0,
    stdout: /^exported first, second to .*chain\.tar \([0-9.]+K\)\n$/,
  });
  t.match(await json('export', 'second', whole, '--flatten'), { checkpoints: ['second'] });
  t.same(readFileSync(whole).subarray(0, 2), Buffer.from([0x1f, 0x8b]));
  const b = storeOf('b');
  t.match(await b.run('import', whole, '--name', 'alone'), { stdout: /^imported alone .*\n$/ });
  const piped = mayfly(['checkpoint', 'import', '--store', b.store, '-'], readFileSync(chain));
  t.match(piped, { status: 0, stdout: /^imported first .*\nimported second/ });
  t.same(names(await b.json('ls')), ['alone', 'first', 'second']);
  t.match(await b.run('diff', 'alone', 'second'), { stdout: 'alone and second are the same\n' });
  const args = [bin, 'checkpoint', 'export', '--store', b.store, '--no-layers', 'alone', '-'];
  const { stdout: bytes } = spawnSync(process.execPath, args, { env });
  const c = storeOf('c');
  const incomplete = mayfly(['checkpoint', 'import', '--store', c.store, '-'], bytes);
  t.match(incomplete, {
    status: 1,
    stderr: /MAYFLY_CHECKPOINT_INCOMPLETE: .*\n {2}export it again/,
  });
  t.match(mayfly(['checkpoint', 'import', '--store', b.store, '--name', 'x', '-'], bytes), {
    status: 0,
  });
});

t.test('network rules: shown, not widened, not taken over from a file', async (t) => {
  const { store, run, json } = storeOf('network');
  await run('import', golden);
  t.match(await run('inspect', 'first'), { stdout: /\nnetwork +\(nothing, or what/ });
  const path = join(store, 'checkpoints/first/manifest.json');
  const rules = ['*.example.com:443', 'host.mayfly:5432'];
  const { sha256: _, ...manifest } = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...manifest, network: rules }));
  t.match(await run('inspect', 'first'), {
    stdout: /\nnetwork +\*\.example\.com:443 host\.mayfly:5432\n/,
  });
  t.same((await json('inspect', 'first')).network, rules);
  const clone = (...args: string[]) => command('clone', '--store', store, 'first', ...args);
  t.match(await clone('--allow-net', 'example.com:443'), {
    status: 125,
    stderr: /MAYFLY_NETWORK_WIDER: .*example\.com:443 opens more than checkpoint first/,
  });
  for (const args of [[], ['--no-allow-net'], ['--allow-net', 'a.example.com:443']]) {
    t.notMatch(await clone(...args), { stderr: /NETWORK/ }, String(args));
  }
  const file = join(dir, 'rules.tar');
  await run('export', 'second', file);
  const other = storeOf('imported');
  const note = 'mayfly: note: not taken over, what it may connect to: first *.example.com:443';
  t.match(await other.run('import', file), { status: 0, stderr: `${note} host.mayfly:5432\n` });
  t.equal((await other.json('inspect', 'first')).network, undefined);
});

t.test('verify, revert, rm', async (t) => {
  const { store, run, json } = storeOf('b');
  t.match(await run('verify', 'first', 'second'), { stdout: 'first is right\nsecond is right\n' });
  t.match(await run('revert', 'second'), { status: 0, stdout: 'second is what first is\n' });
  t.match(await run('diff', 'first', 'second'), { stdout: 'first and second are the same\n' });
  t.match(await run('revert', 'first'), { status: 1, stderr: /MAYFLY_CHECKPOINT_ROOT/ });
  t.match(await run('revert', 'second', 'second'), { stdout: 'second is what second is\n' });
  t.match(await run('revert', 'first', 'alone'), { status: 0, stdout: 'first is what alone is\n' });
  t.match(await run('rm', 'x', 'alone'), { status: 0, stdout: 'removed x\nremoved alone\n' });
  t.same(names(await json('ls')), ['first', 'second']);
  const folder = join(store, 'checkpoints', 'first');
  const memory = join(folder, (await json('inspect', 'first')).memory.file);
  const bytes = readFileSync(memory);
  bytes[0x200000]! ^= 1;
  writeFileSync(memory, bytes);
  t.match(await json('verify', '--all'), {
    status: 1,
    results: [
      { name: 'first', ok: false, error: { code: 'MAYFLY_CHECKPOINT_DAMAGED' } },
      { name: 'second', ok: true },
    ],
  });
  t.match(await run('verify', 'first'), {
    status: 1,
    stderr: /^mayfly: MAYFLY_CHECKPOINT_DAMAGED: first: .*memory-.* has other content\n/,
  });
  writeFileSync(join(folder, 'manifest.json'), '{');
  t.match(await run('ls'), { stderr: /note: first is no usable checkpoint: .* is not JSON/ });
  t.match(await run('rm', 'first'), { status: 0 });
  t.match(await run('verify', '--all'), { status: 0, stdout: 'second is right\n' });
});

t.test('what changes a store is JSON, too', async (t) => {
  const { json } = storeOf('json');
  t.match(await json('import', golden), {
    status: 0,
    imported: [{ name: 'first' }, { name: 'second', mayfly: undefined }],
  });
  const { id } = await json('inspect', 'first');
  t.match(await json('revert', 'second'), { status: 0, name: 'second', parent: id });
  t.same(await json('rm', 'first'), { removed: ['first'], stderr: '', status: 0 });
  t.match(await json('rm', 'first', 'second'), {
    removed: ['second'],
    stderr: /CHECKPOINT_UNKNOWN/,
    status: 1,
  });
  t.same(await json('verify', '--all'), { results: [], stderr: '', status: 0 });
});

t.test('a parent that is removed with its child is not merged with it', async (t) => {
  const { run, json } = storeOf('both');
  await run('import', golden);
  const { stdout, status } = await run('rm', 'first', 'second');
  t.same({ stdout, status }, { stdout: 'removed second\nremoved first\n', status: 0 });
  t.same(names(await json('ls')), []);
});

t.test('a port that cannot be published is told before anything runs', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const { run } = storeOf('a');
  t.match(await run('create', 'n', '-p', `${port}:80`, '--', 'no-such-program'), {
    status: 1,
    stderr: /^mayfly: MAYFLY_LISTEN: cannot listen on 127\.0\.0\.1:\d+: another program listens/,
  });
  t.match(await run('create', 'n', '-p', '0:80', '--', 'no-such-program'), {
    status: 1,
    stderr: /^mayfly: 127\.0\.0\.1:\d+ is port 80 of the guest\nmayfly: MAYFLY_PROGRAM_UNKNOWN/,
  });
  t.equal(process.listenerCount('SIGUSR1'), 0, 'signals mean what they meant before');
});

t.test('what makes no sense, and what is not there', async (t) => {
  const { run } = storeOf('a');
  for (const args of [
    ['create', 'n'],
    ['create', 'n', '--after', '1s', '--when-idle', '--', 'true'],
    ['create', 'n', '--from', 'first', '--', 'true'],
    ['create', 'n', '--from', 'first', '--memory', '64M'],
    ['verify'],
    ['verify', '--all', 'first'],
    ['export', 'first', '-', '--json'],
    ['nope'],
  ]) {
    const outcome = await run(args[0]!, ...args.slice(1));
    t.match(outcome, { status: 2, stderr: /^mayfly: MAYFLY_USAGE: / }, args.join(' '));
  }
  t.match(await command('clone', 'first', '--count', '0'), { status: 2, stderr: /A count is/ });
  t.match(await command('clone', 'first', '--count', '2', '--core', 'f'), { status: 2 });
  for (const [args, code] of [
    [
      ['inspect', 'nope'],
      /CHECKPOINT_UNKNOWN: there is no checkpoint nope\n {2}`mayfly checkpoint/,
    ],
    [['diff', 'first', 'nope'], /CHECKPOINT_UNKNOWN/],
    [['rm', 'nope'], /CHECKPOINT_UNKNOWN/],
    [['import', join(dir, 'nope')], /MAYFLY_FILE: cannot read .*nope/],
    [['import', bin], /CHECKPOINT_DAMAGED/],
    [['import', golden], /CHECKPOINT_EXISTS: there is a checkpoint second already/],
    [['import', golden, '--name', '../x'], /CHECKPOINT_BAD_NAME/],
    [
      ['export', 'first', join(dir, 'no/such/folder')],
      /MAYFLY_FILE: cannot write .*: no such file/,
    ],
    [['export', 'first', dir], /MAYFLY_FILE: cannot write .*: it is a folder/],
    [['create', 'first', '--', 'true'], /CHECKPOINT_EXISTS/],
    [['create', 'a b', '--', 'true'], /CHECKPOINT_BAD_NAME/],
    [['create', 'n', '--', 'no-such-program'], /PROGRAM_UNKNOWN/],
    [['create', 'n', '--from', 'nope'], /CHECKPOINT_UNKNOWN/],
  ] as const) {
    t.match(await run(args[0], ...args.slice(1)), { status: 1, stderr: code }, args.join(' '));
  }
  writeFileSync(join(dir, 'plain'), '');
  t.match(await command('checkpoint', 'ls', '--store', join(dir, 'plain')), {
    status: 1,
    stderr: /MAYFLY_CHECKPOINT_STORE_UNUSABLE/,
  });
  rmSync(stores, { recursive: true });
});
