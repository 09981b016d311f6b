/** Command lines against the real server, whose pool answers from memory. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '@mayfly/api';
import type { HostHead } from '@mayfly/protocol';
import type { InvokeFrame, Pool } from '@mayfly/vmm';
import t from 'tap';
import { runCommandLine } from '../src/index.js';

const LINE = { level: 'info', time: 0, text: 'log\u001b[2J\tged' };

/** Answers every event with {got: event}; refuses to load what says so. */
class EchoPool implements Pool {
  readonly workers = 1;
  source = '';

  async deploy() {
    const ready = { type: 'ready', exports: 'handler', version: 'v20', pid: 1, logs: [] };
    const error = {
      type: 'error',
      code: 'FUNCTION_THREW',
      message: 'no',
      stack: 'at f:1',
      logs: [],
    };
    return { bootMicros: 1000, readyHead: this.source.includes('refuse me') ? error : ready };
  }

  async invoke(_name: string, { head, body }: InvokeFrame) {
    const isEvent = (head as HostHead).type === 'event';
    const answer = isEvent
      ? { type: 'result', logs: [LINE] }
      : { type: 'response', status: 200, headers: [], logs: [] };
    const sent = body instanceof Uint8Array ? Buffer.from(body).toString() : '"in pieces"';
    const got = Buffer.from(`{"got":${sent || 'null'}}`);
    const timing = { guestMicros: 1, queueMicros: 1, cloneMicros: 1 };
    const end = Promise.resolve({ ...timing, cpuMicros: 1, rewoundPages: 0 });
    return { head: answer, body: got, ...timing, end };
  }

  async start() {}
  async stop() {}
  async unload() {}
  async remove() {}
  async prune() {}
  async close() {}
}

const dir = mkdtempSync(join(tmpdir(), 'mayfly-cli-'));
const pool = new EchoPool();
const layers = {
  programs: async () => '',
  files: async (files: ReadonlyMap<string, { bytes: Uint8Array }>) => {
    for (const { bytes } of files.values()) pool.source = Buffer.from(bytes).toString();
    return '';
  },
};
const server = await startServer({ port: 0, dataDir: dir, pool, layers, logLevel: 'silent' });
t.teardown(async () => {
  await server.close();
  rmSync(dir, { recursive: true });
});

async function mayfly(...args: string[]) {
  const out = { code: 0, stdout: '', stderr: '' };
  out.code = await runCommandLine(args, {
    stdout: (text) => {
      out.stdout += text;
    },
    stderr: (text) => {
      out.stderr += text;
    },
    env: { MAYFLY_URL: server.url, PATH: process.env.PATH },
  });
  process.exitCode = 0;
  return out;
}

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

t.test('deploy, ls, invoke, logs, rm', async (t) => {
  file('part.mjs', 'export const part = "from another file";');
  const path = file(
    'f.ts',
    'import { part } from "./part.mjs"; export const handler = (): string => part;',
  );
  t.match(await mayfly('ls'), { code: 0, stdout: 'no functions\n' });
  const options = ['--memory', '128M', '--timeout', '2s', '--env', 'A=b=c', '--env', 'D='];
  t.match(await mayfly('deploy', 'f', path, ...options), {
    code: 0,
    stdout: new RegExp(`^deployed f version 1 .*${server.url}/fn/f\n$`),
    stderr:
      /^ {2}bundle +[\d.]+K +[\d.]+ s\n {2}upload +[\d.]+K .*\n {2}image .*\n {2}boot .*\n {2}store .*\n$/,
  });
  t.match(pool.source, /from another file/);
  t.match(await mayfly('ls'), { stdout: /^NAME .*\nf +1 +ready +128M +2s +20/ });
  t.match(JSON.parse((await mayfly('ls', '--json')).stdout), {
    functions: [{ name: 'f', env: { A: 'b=c', D: '' }, timeoutMs: 2000 }],
  });
  const invoked = await mayfly('invoke', 'f', '--data', '{"a":1}');
  t.match(invoked, { code: 0, stderr: '1970-01-01T00:00:00.000Z info log\ufffd[2J\tged\n' });
  t.same(JSON.parse(invoked.stdout), { got: { a: 1 } });
  const report = JSON.parse((await mayfly('invoke', 'f', '--json')).stdout);
  t.match(report, { result: { got: null }, logs: [LINE], timing: { guestMs: 0.001 } });
  t.match(await mayfly('logs', 'f'), { stdout: /info log.*ged\n/ });
  t.match(await mayfly('rm', 'f'), { code: 0, stdout: 'removed f\n' });
  t.match(await mayfly('rm', 'f'), {
    code: 1,
    stderr:
      'mayfly: MAYFLY_FUNCTION_UNKNOWN: there is no function "f"\n  `mayfly ls` lists the functions\n',
  });
});

t.test('versions, rollback, environment, records, statistics', async (t) => {
  const path = file('v.js', 'export const handler = () => 1;');
  for (let n = 0; n < 2; n++) t.match(await mayfly('deploy', 'v', path), { code: 0 });
  t.match(await mayfly('versions', 'v'), { stdout: /^VERSION .*\n2 \* .*\n1 / });
  t.match(await mayfly('rollback', 'v'), { code: 0, stdout: 'v serves version 1\n' });
  t.match(await mayfly('rollback', 'v'), { code: 1, stderr: /MAYFLY_VERSION_UNKNOWN/ });
  t.match(await mayfly('rollback', 'v', '2', '--json'), { stdout: /"version": 2/ });
  const changes = ['--set', 'A=1', '--secret', 'S=hidden', '--unset', 'B'];
  t.match(await mayfly('env', 'v', ...changes), { code: 0, stdout: 'A=1\nS (secret)\n' });
  t.match(await mayfly('env', 'v', '--unset', 'A'), { stdout: 'S (secret)\n' });
  t.match(await mayfly('env', 'v'), { stdout: 'S (secret)\n' });
  t.match(await mayfly('invoke', 'v', '--version', '1', '--json'), { stdout: /"version": 1/ });
  const accepted = await mayfly('invoke', 'v', '--async', '--data', '7');
  t.match(accepted, { code: 0, stdout: /^[0-9a-f-]{36}\n$/ });
  const id = accepted.stdout.trim();
  t.match(JSON.parse((await mayfly('invocation', id)).stdout), { id, function: 'v', version: 2 });
  t.match(await mayfly('invocation', 'none'), { code: 1, stderr: /MAYFLY_INVOCATION_UNKNOWN/ });
  const list = (await mayfly('invocations', 'v')).stdout;
  t.match(list, /^ID .*\n[0-9a-f-]{36} /);
  t.match(await mayfly('stats'), { stdout: /^NAME .*\nv +[12] / });
  const following = mayfly('logs', 'v', '--follow', '--json');
  await new Promise((resolve) => setTimeout(resolve, 300));
  await mayfly('invoke', 'v');
  await mayfly('rm', 'v');
  const lines = (await following).stdout.trim().split('\n');
  t.match(JSON.parse(lines.at(-1) as string), { text: LINE.text, version: 2 });
  t.match(await mayfly('logs', 'v', '-f'), { code: 1, stderr: /MAYFLY_FUNCTION_UNKNOWN/ });
  t.match(await mayfly('logs', 'v', '--limit', '0'), { code: 2 });
});

t.test('a folder is deployed as its mayfly.json says', async (t) => {
  const folder = join(dir, 'folder');
  mkdirSync(folder);
  const manifest = (text: string) => file('folder/mayfly.json', text);
  t.match(await mayfly('deploy', 'g', folder), { code: 1, stderr: /MAYFLY_MANIFEST: cannot read/ });
  manifest('{ "timeoutMs": 3000, "env": { "A": "1", "B": "1" } }');
  t.match(await mayfly('deploy', 'g', folder), { code: 1, stderr: /MAYFLY_FILE: .* index\.ts/ });
  file('folder/index.mjs', 'export const handler = () => "by default";');
  t.match(await mayfly('deploy', 'g', folder, '--env', 'B=2'), { code: 0 });
  t.match(pool.source, /by default/);
  const info = (await mayfly('ls', '--json')).stdout;
  t.match(JSON.parse(info), { functions: [{ timeoutMs: 3000, env: { A: '1', B: '2' } }] });
  manifest('{ "network": { "allow": ["a.example"] } }');
  t.match(await mayfly('deploy', 'g', folder, '--allow-net', '*.b.example:443'), { code: 0 });
  t.match(JSON.parse((await mayfly('ls', '--json')).stdout), {
    functions: [{ network: { allow: ['a.example', '*.b.example:443'] } }],
  });
  t.match(await mayfly('deploy', 'g', folder, '--allow-net', 'localhost'), {
    code: 1,
    stderr: /MAYFLY_NETWORK_RULE: .*host\.mayfly:PORT/,
  });
  file('folder/main.ts', 'export const handler = (): string => "by name";');
  manifest('{ "entry": "main.ts" }');
  t.match(await mayfly('deploy', 'g', folder), { code: 0 });
  t.match(pool.source, /by name/);
  for (const [text, why] of [
    ['{', /mayfly\.json: .*JSON/],
    ['[]', /mayfly\.json: it must be object/],
    ['{ "memory": 1 }', /mayfly\.json: memory is no field of a mayfly\.json/],
    ['{ "runtime": "cobol" }', /mayfly\.json: runtime must be one of node, python/],
    ['{ "memoryBytes": 1 }', /mayfly\.json: memoryBytes must be >= 67108864/],
    ['{ "network": { "allow": [1] } }', /network\.allow\.0 must be string/],
  ] as const) {
    manifest(text);
    const outcome = await mayfly('deploy', 'g', folder);
    t.match(outcome, { code: 1, stderr: /^mayfly: MAYFLY_MANIFEST: / }, text);
    t.match(outcome.stderr, why);
  }
  manifest('{ "entry": "gone.ts" }');
  t.match(await mayfly('deploy', 'g', folder), { code: 1, stderr: /MAYFLY_FILE: .*gone\.ts/ });
  await mayfly('rm', 'g');
});

t.test('errors are one clear line and what to do', async (t) => {
  const bad = file('bad.mjs', 'let a = 1;\nlet b = ;');
  t.match(await mayfly('deploy', 'f', bad), {
    code: 1,
    stderr: /^mayfly: MAYFLY_SOURCE_INVALID: .*bad\.mjs:2:9: .*\n {2}let b = ;\n {10}\^\n$/,
  });
  const refused = file('refused.mjs', '"refuse me";');
  t.match(await mayfly('deploy', 'f', refused), {
    code: 1,
    stderr: 'mayfly: FUNCTION_THREW: no\n  at f:1\n',
  });
  t.match(await mayfly('deploy', 'f', 'no-such-file'), { code: 1, stderr: /MAYFLY_FILE/ });
  t.match(await mayfly('ls', '--url', 'http://127.0.0.1:1'), {
    code: 1,
    stderr: /^mayfly: MAYFLY_CONNECT: .*\n {2}start a server with `mayfly serve`/,
  });
  t.match(await mayfly('ls', '--url', 'x'), { code: 1, stderr: /MAYFLY_URL/ });
});

t.test('a command line that makes no sense exits with 2', async (t) => {
  for (const args of [
    ['nope'],
    ['invoke'],
    ['invoke', 'f', '--data', '{'],
    ['deploy', 'f', 'x', '--memory', 'lots'],
    ['deploy', 'f', 'x', '--timeout', '0'],
    ['deploy', 'f', 'x', '--env', 'A'],
    ['serve', '--port', '65536'],
    ['run'],
    ['run', '--timeout', '1h', '--', 'true'],
  ]) {
    t.match(await mayfly(...args), { code: 2, stderr: /^mayfly: MAYFLY_USAGE: / }, args.join(' '));
  }
});

t.test('help is there for every command', async (t) => {
  const { stdout, code } = await mayfly('--help');
  t.equal(code, 0);
  for (const name of [
    'serve',
    'deploy',
    'invoke',
    'ls',
    'rm',
    'logs',
    'run',
    'image',
    'checkpoint',
    'clone',
    'helpers',
    'conformance',
    'doctor',
  ]) {
    t.match(stdout, new RegExp(`^  ${name}`, 'm'));
    t.match(await mayfly(name, '--help'), { code: 0, stdout: new RegExp(`Usage: mayfly ${name}`) });
  }
});

t.test('run: programs that are not there or not executable', async (t) => {
  t.match(await mayfly('run', '--', 'no-such-program'), {
    code: 127,
    stderr: /MAYFLY_PROGRAM_UNKNOWN: there is no program no-such-program in PATH/,
  });
  t.match(await mayfly('run', '--', './no-such-program'), { code: 127 });
  t.match(await mayfly('run', '--', file('plain.txt', '')), {
    code: 126,
    stderr: /MAYFLY_PROGRAM_NOT_EXECUTABLE/,
  });
});

t.test('helpers copies what programs in a guest import', async (t) => {
  const to = join(t.testdir({}), 'new');
  const { stdout, code } = await mayfly('helpers', to);
  t.equal(code, 0);
  const names = ['mayfly.cjs', 'mayfly.py', 'mayfly-checkpoint.h', 'mayfly.h'];
  t.equal(stdout, names.map((name) => `${join(to, name)}\n`).join(''));
  t.match(readFileSync(join(to, 'mayfly.py'), 'utf8'), /def checkpoint/);
  t.match(await mayfly('helpers', '/dev/null/x'), {
    code: 1,
    stderr: /MAYFLY_HELPERS: cannot copy/,
  });
});

t.test('fn has the commands for functions, too', async (t) => {
  const path = file('versioned.mjs', 'export const handler = () => 1;');
  for (let i = 0; i < 2; i++) t.match(await mayfly('deploy', 'v', path), { code: 0 });
  t.match(await mayfly('fn', 'ls'), { stdout: /^v +2 /m });
  t.match(await mayfly('fn', 'rollback', 'v'), { code: 0, stdout: 'v serves version 1\n' });
  t.match(await mayfly('fn', 'versions', 'v'), { stdout: /^1 \*/m });
  t.match(await mayfly('fn', 'rm', 'v'), { stdout: 'removed v\n' });
});

t.test('logs -f shows lines as they come, until the function is removed', async (t) => {
  await mayfly('deploy', 'followed', file('followed.mjs', 'export const handler = () => 1;'));
  const following = mayfly('logs', 'followed', '-f', '--json');
  for (let i = 0; i < 3; i++) await mayfly('invoke', 'followed');
  await mayfly('rm', 'followed');
  const lines = (await following).stdout.trim().split('\n');
  t.equal(lines.length, 3);
  t.match(JSON.parse(lines[2]!), { level: 'info', version: 1 });
});

t.test('dev deploys what is saved, and tells what is wrong with it', async (t) => {
  const folder = t.testdir({ 'index.mjs': 'export const handler = () => 1;' });
  const path = join(folder, 'index.mjs');
  const stop = new AbortController();
  const out = { stdout: '', stderr: '' };
  const running = runCommandLine(['dev', 'dev', path, '--url', server.url], {
    stdout: (text) => {
      out.stdout += text;
    },
    stderr: (text) => {
      out.stderr += text;
    },
    env: {},
    signal: stop.signal,
  });
  const seen = async (stream: 'stdout' | 'stderr', what: RegExp) => {
    for (let i = 0; i < 400 && !what.test(out[stream]); i++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    t.match(out[stream], what);
  };
  await seen('stdout', /deployed dev version 1 /);
  writeFileSync(path, 'export const handler = (');
  await seen('stderr', /MAYFLY_SOURCE_INVALID/);
  writeFileSync(path, 'export const handler = () => 2;');
  await seen('stdout', /deployed dev version 2 /);
  await mayfly('invoke', 'dev');
  await seen('stderr', /info log/);
  stop.abort();
  t.equal(await running, 0);
  await mayfly('rm', 'dev');
});

t.test('completion scripts are valid and complete commands and options', async (t) => {
  const { stdout: script } = await mayfly('completion', 'bash');
  const complete = (...words: string[]) => {
    const line = words.map((word) => `'${word}'`).join(' ');
    const run = `${script}\nCOMP_WORDS=(mayfly ${line}); COMP_CWORD=${words.length}; _mayfly; echo "\${COMPREPLY[@]}"`;
    return execFileSync('bash', ['-c', run], { encoding: 'utf8' }).trim().split(' ');
  };
  t.same(complete('dep'), ['deploy']);
  t.same(complete('fn', 'ro'), ['rollback']);
  t.same(complete('fn', 'env', 'name', '--un'), ['--unset']);
  t.ok(complete('logs', '--').includes('--follow'));
  t.match(await mayfly('completion', 'zsh'), { stdout: /^#compdef mayfly\n/ });
  const fish = (await mayfly('completion', 'fish')).stdout;
  t.match(fish, /^complete -c mayfly -n '__fish_use_subcommand' -f -a deploy -d '/m);
  t.match(await mayfly('completion', 'tcsh'), { code: 2, stderr: /bash, zsh and fish/ });
});

t.test('doctor says what this host has', async (t) => {
  const { stdout, code } = await mayfly('doctor', '--json');
  const { ok, findings } = JSON.parse(stdout);
  t.equal(code, ok ? 0 : 1);
  t.ok(findings.some(({ check }: { check: string }) => check === '/dev/kvm'));
  for (const { result, advice } of findings) t.ok(result === 'ok' || advice);
  t.match(await mayfly('doctor'), { stdout: /^(ok|warn|fail) +\/dev\/kvm: / });
});

t.test(
  'a host without KVM is told so, and nothing else',
  { skip: existsSync('/dev/kvm') && 'machines run here' },
  async (t) => {
    const { code, stdout, stderr } = await mayfly(
      'serve',
      '--port',
      '0',
      '--data',
      join(dir, 'none'),
    );
    t.equal(code, 1);
    t.equal(stdout, '');
    t.match(stderr, /^mayfly: MAYFLY_KVM_(?:MISSING|PERMISSION): .*\n {2}`mayfly doctor` .*\n$/);
  },
);
