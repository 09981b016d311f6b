/** Command lines against the real server, whose pool answers from memory. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServer } from '@mayfly/api';
import type { HostHead } from '@mayfly/protocol';
import type { InvokeFrame, Pool } from '@mayfly/vmm';
import t from 'tap';
import { processor } from '../src/commands/doctor.js';
import { runCommandLine } from '../src/index.js';

const TIMING = { guestMicros: 1, queueMicros: 1, cloneMicros: 1 };
const LINE = { level: 'info', time: 0, text: 'log\u001b[2J\tged' };

/** Answers every event with {got: event}; refuses to load what says so. */
class EchoPool implements Pool {
  readonly workers = 1;
  source = '';
  files: string[] = [];
  /** What a boot waits for. */
  booting = Promise.resolve();

  async deploy() {
    await this.booting;
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
    if (body instanceof Uint8Array && Buffer.from(body).toString() === '"fail"') {
      const error = { type: 'error', code: 'FUNCTION_THREW', message: 'no', stack: 'at f:1' };
      const end = Promise.resolve({ ...TIMING, cpuMicros: 1, rewoundPages: 0 });
      return { head: { ...error, logs: [LINE] }, body: new Uint8Array(0), ...TIMING, end };
    }
    const answer = isEvent
      ? { type: 'result', logs: [LINE] }
      : { type: 'response', status: 200, headers: [], logs: [] };
    const sent = body instanceof Uint8Array ? Buffer.from(body).toString() : '"in pieces"';
    const got = Buffer.from(`{"got":${sent || 'null'}}`);
    const end = Promise.resolve({ ...TIMING, cpuMicros: 1, rewoundPages: 0 });
    return { head: answer, body: got, ...TIMING, end };
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
    pool.files = [...files.keys()];
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
  t.match(await mayfly('invoke', 'f', '-d', '"fail"'), {
    code: 1,
    stdout: '',
    stderr: /^1970.* info log.*\nmayfly: FUNCTION_THREW: no\n {2}at f:1\n {2}see its logs/,
  });
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

t.test('env: from the command line, from files and from here; secrets stay unseen', async (t) => {
  await mayfly('deploy', 'e', file('e.js', 'export const handler = () => 1;'));
  const env = (...args: string[]) => mayfly('env', ...args);
  t.match(await env('ls', 'e'), { code: 0, stdout: '' });
  t.match(await env('set', 'e', 'A=1=2', 'B='), { code: 0, stdout: 'A=1=2\nB=\n' });
  const secret = await env('set', 'e', '--secret', 'S=hidden', 'PATH');
  t.equal(secret.stdout, 'A=1=2\nB=\nS (secret)\nPATH (secret)\n');
  const dotenv = file('.env', '# comment\nA="from a file"\nexport C=\'c\'\n');
  t.equal(
    (await env('set', 'e', '--from', dotenv, 'B=b', '--json')).stdout.includes('hidden'),
    false,
  );
  t.same(JSON.parse((await env('ls', 'e', '--json')).stdout), {
    variables: { A: 'from a file', B: 'b', C: 'c' },
    secrets: ['S', 'PATH'],
  });
  t.match(await env('set', 'e', 'S=plain'), { stdout: /^S=plain\nPATH \(secret\)$/m });
  t.match(await env('set', 'e', '--secret', 'A=x'), { stdout: /^A \(secret\)$/m });
  t.match(await env('unset', 'e', 'A', 'S', 'PATH', 'none'), { code: 0, stdout: 'B=b\nC=c\n' });
  t.match(await mayfly('fn', 'env', 'ls', 'e'), { stdout: 'B=b\nC=c\n' });
  for (const [args, why] of [
    [['NOT_SET_HERE'], /MAYFLY_VARIABLE: "NOT_SET_HERE" is not KEY=VALUE/],
    [[], /MAYFLY_VARIABLE: there is nothing to set/],
    [['--from', 'none'], /MAYFLY_FILE: cannot read none/],
    [['A-B=1'], /MAYFLY_REQUEST_INVALID: .*A-B.*\n {2}compare the request/],
  ] as const) {
    t.match(await env('set', 'e', ...args), { code: 1, stdout: '', stderr: why }, why.source);
  }
  t.match(await env('unset', 'e'), { code: 2 });
  t.match(await env('ls', 'none'), { code: 1, stderr: /MAYFLY_FUNCTION_UNKNOWN/ });
  await mayfly('rm', 'e');
});

t.test('status of a server, and all about a function', async (t) => {
  await mayfly('deploy', 'i', file('i.js', 'export const handler = () => 1;'), '--env', 'A=1');
  await mayfly(
    'deploy',
    'i',
    file('i.js', 'export const handler = () => 2;'),
    '--allow-net',
    'a.example',
  );
  await mayfly('env', 'set', 'i', '--secret', 'S=hidden');
  await mayfly('invoke', 'i');
  t.match(await mayfly('status'), {
    code: 0,
    stdout: /^server +http.*\nversion +\d+\.\d+\.\d+\nstate +ready\nfunctions +1\n/,
  });
  t.match(JSON.parse((await mayfly('status', '--json')).stdout), { state: 'ready', inFlight: 0 });
  t.match(await mayfly('status', '--url', 'http://127.0.0.1:1'), {
    code: 1,
    stderr: /MAYFLY_CONNECT/,
  });
  const { stdout } = await mayfly('inspect', 'i');
  for (const line of [
    /^name +i$/m,
    /^url +http.*\/fn\/i$/m,
    /^version +2, deployed 20/m,
    /^others +1$/m,
    /^network +a\.example$/m,
    /^env +S \(secret\)$/m,
    /^calls +1, 0 failed, 0 running$/m,
  ]) {
    t.match(stdout, line);
  }
  t.match(JSON.parse((await mayfly('fn', 'inspect', 'i', '--json')).stdout), {
    function: { name: 'i', version: 2 },
    versions: [{ version: 2 }, { version: 1, env: { A: '1' } }],
    environment: { secrets: ['S'] },
    stats: { invocations: 1 },
  });
  t.match(await mayfly('inspect', 'none'), { code: 1, stderr: /MAYFLY_FUNCTION_UNKNOWN/ });
  t.match(await mayfly('ls', '--quiet'), { stdout: 'i\n' });
  const event = file('event.json', '{"a":[1]}');
  t.match(await mayfly('invoke', 'i', '-d', `@${event}`), { stdout: /"a"/ });
  t.match(await mayfly('invoke', 'i', '-d', '@none.json'), { code: 1, stderr: /MAYFLY_FILE/ });
  await mayfly('deploy', 'j', file('j.js', 'export const handler = () => 1;'));
  t.match(await mayfly('rm', 'i', 'j', '--json'), { code: 0, stdout: /"i",\s+"j"/ });
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
  manifest('{ "bundle": false }');
  t.match(await mayfly('deploy', 'g', folder), {
    code: 1,
    stderr: /MAYFLY_MANIFEST: .*bundle can be false for "runtime": "http" only/,
  });
  manifest('{ "runtime": "http", "command": ["node", "server.cjs"], "bundle": false }');
  mkdirSync(join(folder, 'node_modules'));
  file('folder/node_modules/views.js', '');
  file('folder/server.cjs', 'require("views")');
  t.match(await mayfly('deploy', 'g', folder), { code: 0 });
  t.same([...pool.files], ['index.mjs', 'main.ts', 'node_modules/views.js', 'server.cjs']);
  truncateSync(file('folder/blob', ''), 300 * 2 ** 20);
  t.match(await mayfly('deploy', 'g', folder), {
    code: 1,
    stderr:
      /MAYFLY_ARCHIVE_TOO_LARGE: .* has 5 files of 300M; a function may bring 10000 of 256M .*\n.*omit=dev/,
  });
  rmSync(join(folder, 'blob'));
  manifest('{ "entry": "gone.ts" }');
  t.match(await mayfly('deploy', 'g', folder), { code: 1, stderr: /MAYFLY_FILE: .*gone\.ts/ });
  await mayfly('rm', 'g');
});

t.test('a file is deployed as what it is', async (t) => {
  const runtimes = async () => JSON.parse((await mayfly('ls', '--json')).stdout).functions[0];
  for (const [name, content, runtime] of [
    ['one.py', 'def handler(event, context): return 1', 'python'],
    ['one.cts', 'exports.handler = (): number => 1;', 'node'],
    ['one.wasm', '\0asm\x01\0\0\0', 'wasm'],
  ] as const) {
    t.match(await mayfly('deploy', 'one', file(name, content)), { code: 0 }, name);
    t.match(await runtimes(), { runtime });
    if (runtime !== 'node') t.same([...pool.files], [name]);
  }
  copyFileSync('/bin/true', join(dir, 'true'));
  t.match(await mayfly('deploy', 'one', join(dir, 'true')), { code: 0 });
  t.match(await runtimes(), { runtime: 'native' });
  for (const [name, content] of [
    ['one.txt', 'hello'],
    ['empty', ''],
  ] as const) {
    t.match(await mayfly('deploy', 'one', file(name, content)), {
      code: 1,
      stderr: /MAYFLY_FILE: .* is no function: deploy a file of JavaScript/,
    });
  }
  await mayfly('rm', 'one');
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
    stderr: 'mayfly: FUNCTION_THREW: no\n  at f:1\n  see its logs for the stack\n',
  });
  t.match(await mayfly('deploy', 'f', 'no-such-file'), { code: 1, stderr: /MAYFLY_FILE/ });
  t.match(await mayfly('ls', '--url', 'http://127.0.0.1:1'), {
    code: 1,
    stderr: /^mayfly: MAYFLY_CONNECT: .*\n {2}start a server with `mayfly serve`/,
  });
  t.match(await mayfly('ls', '--url', 'x'), { code: 1, stderr: /MAYFLY_URL/ });
  t.match(await mayfly('deploy', 'f', 'no-such-file'), {
    stderr: 'mayfly: MAYFLY_FILE: cannot read no-such-file: no such file or directory\n',
  });
  t.match(await mayfly('deploy', 'Bad Name', bad), { stderr: /MAYFLY_FUNCTION_NAME|bad\.mjs/ });
});

t.test('logs: a time that is none', async (t) => {
  await mayfly('deploy', 'l', file('l.js', 'export const handler = () => 1;'));
  for (const since of ['soon', '10', '10m', '2026-01-31', '2026-01-31T12:00:00+01:00']) {
    t.match(await mayfly('logs', 'l', '--since', since), { code: since === 'soon' ? 1 : 0 }, since);
  }
  for (const since of ['soon', 'may 1', '2026-13-99', '']) {
    t.match(await mayfly('logs', 'l', '--since', since), {
      code: 1,
      stderr: /MAYFLY_REQUEST_INVALID: since: ".*" is no time: .*2026-01-31T12:00Z.* 10m\n/,
    });
  }
  await mayfly('rm', 'l');
});

t.test('rm removes what is there, whatever is not', async (t) => {
  await mayfly('deploy', 'r', file('r.js', 'export const handler = () => 1;'));
  const removed = await mayfly('rm', 'none', 'r', '--json');
  t.match(removed, { code: 1, stderr: /MAYFLY_FUNCTION_UNKNOWN: .*"none"/ });
  t.same(JSON.parse(removed.stdout), { removed: ['r'] });
  t.match(await mayfly('ls'), { stdout: 'no functions\n' });
});

t.test('output that nobody takes ends a command without a stack', async (t) => {
  await mayfly('deploy', 'o', file('o.js', 'export const handler = () => 1;'));
  const bin = fileURLToPath(new URL('../../bin/mayfly.js', import.meta.url));
  const env = { ...process.env, MAYFLY_URL: server.url };
  const ended = async (stdout: 'pipe' | number) => {
    const child = spawn(process.execPath, [bin, 'logs', 'o', '--follow'], {
      env,
      stdio: ['ignore', stdout, 'pipe'],
    });
    child.stdout?.destroy();
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk;
    });
    const invoking = setInterval(() => mayfly('invoke', 'o'), 100);
    const [code] = await once(child, 'close');
    clearInterval(invoking);
    return { code, said };
  };
  t.same(await ended('pipe'), { code: 141, said: '' }, 'a closed pipe');
  const full = openSync('/dev/full', 'w');
  t.match(await ended(full), { code: 1, said: /^mayfly: MAYFLY_OUTPUT_CLOSED: .*ENOSPC.*\n$/ });
  closeSync(full);
  await mayfly('rm', 'o');
});

t.test('what takes long is told, and that Ctrl-C does not end it', async (t) => {
  const folder = t.testdir({
    'mayfly.json': '{ "runtime": "http", "command": ["node", "server.js"] }',
    'server.js': '',
  });
  await mayfly('deploy', 'long', folder);
  let boot = () => {};
  const boots = () => {
    pool.booting = new Promise((resolve) => {
      boot = resolve;
    });
  };
  boots();
  setTimeout(() => boot(), 1500);
  const set = await mayfly('env', 'set', 'long', 'A=1');
  t.match(set, { stdout: 'A=1\n', stderr: '  waiting until long serves with this environment\n' });
  t.match(await mayfly('env', 'set', 'long', 'A=2'), { stderr: '' });

  boots();
  const bin = fileURLToPath(new URL('../../bin/mayfly.js', import.meta.url));
  const env = { ...process.env, MAYFLY_URL: server.url };
  const child = spawn(process.execPath, [bin, 'deploy', 'long', folder], { env });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (/image/.test(chunk.toString())) child.kill('SIGINT'); // the boot has begun
    said += chunk;
  });
  const [code] = await once(child, 'close');
  t.equal(code, 130);
  t.match(
    said,
    /\nmayfly: the server goes on with it; `mayfly versions long` tells when it serves\n$/,
  );
  boot();
  await mayfly('deploy', 'long', folder); // waits for the other one
  t.match(await mayfly('versions', 'long'), { stdout: /^3 \*.*\n2 /m });
  await mayfly('rm', 'long');
});

t.test('the version is that of the package', async (t) => {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  t.equal((await mayfly('--version')).stdout, `${JSON.parse(text).version}\n`);
});

t.test('variables that are empty count as none', async (t) => {
  const out: string[] = [];
  const io = {
    stdout: (text: string) => void out.push(text),
    stderr: () => {},
    env: { MAYFLY_URL: '', XDG_DATA_HOME: '' },
  };
  await runCommandLine(['ls', '--help'], io);
  await runCommandLine(['serve', '--help'], io);
  process.exitCode = 0;
  t.match(out.join(''), /http:\/\/127\.0\.0\.1:7070/);
  t.match(out.join(''), /"\/\S+\/\.local\/share\/mayfly"/);
});

const PUBLISH_NONSENSE = [
  ['80'],
  [''],
  ['8080:'],
  [':80'],
  ['8080:0'],
  ['65536:80'],
  ['8080:65536'],
  ['8080:80/udp'],
  ['-1:80'],
  ['localhost:8080:80'],
  ['::1:8080:80'],
  ['[::1:8080:80'],
  ['[127.0.0.1]:8080:80'],
  ['127.0.0.256:8080:80'],
  ['8080:80', '127.0.0.1:8080:81'],
];

t.test('a port that cannot be published is told before anything else is done', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  t.teardown(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  t.match(await mayfly('run', '-p', `${port}:80`, '--', 'no-such-program'), {
    code: 125,
    stderr: new RegExp(
      `^mayfly: MAYFLY_LISTEN: cannot listen on 127.0.0.1:${port}: another program listens there\n {2}choose another port`,
    ),
  });
  const chosen = await mayfly(
    'run',
    '-p',
    '0:80',
    '--publish',
    '[::1]:0:81',
    '--',
    'no-such-program',
  );
  t.match(
    chosen.stderr,
    /^mayfly: 127\.0\.0\.1:\d+ is port 80 of the guest\nmayfly: \[::1\]:\d+ is/,
  );
  t.equal(chosen.code, 127);
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
    ['run', '--timeout', '1d', '--', 'true'],
    ['run', '--timeout', '597h', '--', 'true'],
    ...PUBLISH_NONSENSE.map((values) => ['run', ...values.flatMap((v) => ['-p', v]), '--', 'true']),
    ['clone', 'c', '--count', '2', '--publish', '8080:80'],
  ]) {
    t.match(await mayfly(...args), { code: 2, stderr: /^mayfly: MAYFLY_USAGE: / }, args.join(' '));
  }
});

t.test('each command has help with examples, and is in the documentation', async (t) => {
  const pages = readFileSync(new URL('../../../../docs/cli.md', import.meta.url), 'utf8');
  const check = async (path: string[]) => {
    const { stdout, code } = await mayfly(...path, '--help');
    const line = ['mayfly', ...path].join(' ');
    t.equal(code, 0, line);
    t.match(stdout, new RegExp(`^Usage: ${line}[ |]`), line);
    const commands = /^Commands:\n((?: {2}.*\n)+)/m.exec(stdout)?.[1];
    if (commands === undefined) {
      t.match(stdout, /^Examples?:\n {2}.*mayfly /m, `${line} has examples`);
      t.ok(pages.includes(`\`${line}`) || path[0] === 'fn', `${line} is in docs/cli.md`);
      return;
    }
    for (const [, name] of commands.matchAll(/^ {2}([a-z]+)/gm)) {
      if (name !== 'help') await check([...path, name as string]);
    }
  };
  await check([]);
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

/** `mayfly dev` in this process, until it is stopped. */
function dev(test: Pick<typeof t, 'equal' | 'match'>, name: string, path: string) {
  const stop = new AbortController();
  const out = { stdout: '', stderr: '' };
  const running = runCommandLine(['dev', name, path, '--url', server.url], {
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
    test.match(out[stream], what);
  };
  const end = async () => {
    stop.abort();
    test.equal(await running, 0);
    await mayfly('rm', name);
  };
  return { seen, end, out };
}

t.test('dev deploys what is saved, and tells what is wrong with it', async (t) => {
  const folder = t.testdir({
    lib: { 'number.mjs': 'export default 3;' },
    function: { 'index.mjs': 'export const handler = () => 1;', below: { 'other.mjs': '' } },
  });
  const path = join(folder, 'function/index.mjs');
  const { seen, end, out } = dev(t, 'dev', path);
  await seen('stdout', /deployed dev version 1 /);
  writeFileSync(path, 'export const handler = (');
  await seen('stderr', /MAYFLY_SOURCE_INVALID/);
  writeFileSync(path, "import n from '../lib/number.mjs'; export const handler = () => n;");
  await seen('stdout', /deployed dev version 2 /);
  await mayfly('invoke', 'dev');
  await seen('stderr', /info log/);
  writeFileSync(join(folder, 'function/below/other.mjs'), 'not imported');
  writeFileSync(join(folder, 'lib/number.mjs'), 'export default 4;');
  await seen('stdout', /deployed dev version 3 /);
  t.notMatch(out.stdout, /version 4/);
  await end();
  t.match(await mayfly('dev', 'dev', join(folder, 'none')), {
    code: 1,
    stderr: /MAYFLY_FILE: cannot read .*none/,
  });
});

t.test(
  'dev watches what is deployed, and takes the manifest’s word for what that is',
  async (t) => {
    const manifest = { runtime: 'http', command: ['node', 'dist/server.js'], bundle: false };
    const folder = t.testdir({
      'mayfly.json': '{}',
      'index.mjs': 'export const handler = () => 1;',
      dist: { 'server.js': '1' },
      node_modules: { a: { 'index.js': '1' } },
    });
    const save = (path: string, text: string) => writeFileSync(join(folder, path), text);
    const { seen, end, out } = dev(t, 'watched', folder);
    await seen('stdout', /deployed watched version 1 /);
    save('dist/server.js', '2');
    save('node_modules/a/index.js', '2');
    await new Promise((resolve) => setTimeout(resolve, 500));
    t.notMatch(out.stdout, /version 2/, 'neither is deployed');
    save('mayfly.json', JSON.stringify(manifest));
    await seen('stdout', /deployed watched version 2 /);
    save('dist/server.js', '3');
    await seen('stdout', /deployed watched version 3 /);
    save('node_modules/a/index.js', '3');
    await seen('stdout', /deployed watched version 4 /);
    await end();
  },
);

t.test('completion scripts are valid and complete commands and options', async (t) => {
  const { stdout: script } = await mayfly('completion', 'bash');
  const complete = (...words: string[]) => {
    const line = words.map((word) => `'${word}'`).join(' ');
    const run = `mayfly() { echo "names of $*"; }\n${script}\nCOMP_WORDS=(mayfly ${line}); COMP_CWORD=${words.length}; _mayfly; echo "\${COMPREPLY[@]}"`;
    return execFileSync('bash', ['-c', run], { encoding: 'utf8' }).trim().split(' ');
  };
  t.same(complete('dep'), ['deploy']);
  t.same(complete('fn', 'ro'), ['rollback']);
  t.same(complete('fn', 'env', 'set', 'name', '--fr'), ['--from']);
  t.same(complete('env', 'u'), ['unset']);
  t.ok(complete('logs', '--').includes('--follow'));
  t.same(complete('logs', 'na'), ['names']);
  t.same(complete('fn', 'rm', '--q'), ['']);
  t.same(complete('checkpoint', 'diff', 'a', 'che'), ['checkpoint']);
  t.same(complete('clone', 'ls'), ['ls'], 'names of checkpoint ls --quiet');
  t.same(complete('checkpoint', 'create', 'ls'), [''], 'a new name is nobody’s');
  t.match(await mayfly('completion', 'zsh'), { stdout: /^#compdef mayfly\n/ });
  const fish = (await mayfly('completion', 'fish')).stdout;
  t.match(fish, /^complete -c mayfly -n '__fish_use_subcommand' -f -a deploy -d '/m);
  t.match(fish, /seen_subcommand_from env; and __fish_seen_subcommand_from set' -a '\(mayfly ls/);
  t.match(
    fish,
    /from checkpoint; and __fish_seen_subcommand_from rm' -a '\(mayfly checkpoint ls -/,
  );
  t.match(await mayfly('completion', 'tcsh'), { code: 2, stderr: /bash, zsh and fish/ });
});

t.test('doctor says what this host has', async (t) => {
  const { stdout, code } = await mayfly('doctor', '--json');
  const { ok, findings } = JSON.parse(stdout);
  t.equal(code, ok ? 0 : 1);
  for (const wanted of ['/dev/kvm', 'processor', 'kind of KVM']) {
    t.ok(findings.some(({ check }: { check: string }) => check === wanted));
  }
  for (const { result, advice } of findings) t.ok(result === 'ok' || advice);
  t.match(await mayfly('doctor'), { stdout: /^(ok|warn|fail) +\/dev\/kvm: / });
});

t.test('what a guest has shown is there, /proc/cpuinfo need not say', async (t) => {
  const cpuinfo = 'model name\t: Some\nflags\t\t: fpu lm nx syscall xsave svm\n\n';
  t.same(processor(cpuinfo, true), { check: 'processor', result: 'ok', detail: 'Some' });
  t.match(processor(cpuinfo, false), { result: 'warn', detail: /^Some; .*need: fsgsbase$/ });
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
