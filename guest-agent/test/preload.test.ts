/** Servers in Node.js that know nothing of clones: seeds of their own with each request, and nothing left to do at the first one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { nodeFlags, nodePreloadPath } from '../src/index.js';
import { folderWith } from './agent-process.js';
import { ARRIVED, compiledIn, logFlags } from './compiled.js';

type Test = Parameters<typeof folderWith>[0];

/** A server that prints its port, and whatever else. */
class ServerProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<string>;
  errors = '';

  constructor(t: Test, path: string, flags: readonly string[] = []) {
    const args = [...nodeFlags, ...flags, '--require', nodePreloadPath, path, 'argument'];
    this.child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stderr!.on('data', (chunk) => {
      this.errors += chunk;
    });
    this.ended = once(this.child, 'close').then(([code, signal]) => signal ?? `exit ${code}`);
    t.teardown(() => this.child.kill('SIGKILL'));
  }

  async line(): Promise<string> {
    const [text] = await once(this.child.stdout!, 'data');
    return String(text).trim();
  }

  /** All of it. */
  async output(): Promise<string> {
    const pieces = await this.child.stdout!.toArray();
    return Buffer.concat(pieces).toString().trim();
  }

  async mark(): Promise<void> {
    this.child.kill('SIGUSR2');
    await this.line();
  }
}

/** The port is told when what is left to do after listening is done. */
const LISTEN = `listen(0, '127.0.0.1', function () { setImmediate(() => console.log(this.address().port)); });`;

t.test('a request is seen after seeds and hooks', async (t) => {
  const folder = folderWith(t, {
    'server.cjs': `
      const early = Math.random;
      let hooked = 0;
      mayfly.afterClone(async () => { await 1; hooked++; });
      require('node:http').createServer((_, response) =>
        response.end(JSON.stringify([early(), hooked, String(early).includes('native code')]))).${LISTEN}`,
  });
  const port = await new ServerProcess(t, join(folder, 'server.cjs')).line();
  const ask = async () =>
    (await fetch(`http://127.0.0.1:${port}/`)).json() as Promise<[number, number, boolean]>;
  const [first, second] = [await ask(), await ask()];
  t.not(first[0], second[0]);
  t.same(
    [first.slice(1), second.slice(1)],
    [
      [1, false],
      [2, false],
    ],
  );
});

t.test('random bytes kept in advance are filled anew, what is drawn for use stays', async (t) => {
  const folder = folderWith(t, {
    'server.cjs': `
      const crypto = require('node:crypto');
      const room = Buffer.alloc(1000);
      const drawn = {
        filled: crypto.randomFillSync(room.subarray(100, 300)),
        web: globalThis.crypto.getRandomValues(new Uint32Array(64)),
        part: crypto.randomFillSync(new Uint8Array(300), 100, 200),
        made: crypto.randomBytes(4096),
        key: crypto.randomBytes(64),
        salt: crypto.randomFillSync(Buffer.alloc(32)),
      };
      for (let i = 0; i < 40; i++) crypto.randomFillSync(drawn.filled); // one store, however often it is filled
      const text = (view) => Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString('hex');
      const all = () => Object.fromEntries(Object.entries(drawn).map(([name, view]) => [name, text(view)]));
      const before = all();
      require('node:http').createServer((_, response) => {
        const now = all();
        const changed = Object.keys(now).filter((name) => now[name] !== before[name]);
        const around = [...room.subarray(0, 100), ...room.subarray(300), ...drawn.part.subarray(0, 100)];
        response.end(JSON.stringify([changed, around.every((byte) => byte === 0), crypto.randomFillSync.name, crypto.randomBytes.length]));
      }).${LISTEN}`,
  });
  const port = await new ServerProcess(t, join(folder, 'server.cjs')).line();
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  t.same(await answer.json(), [['filled', 'web', 'part', 'made'], true, 'randomFillSync', 2]);
});

t.test('the first request compiles nothing', async (t) => {
  const folder = folderWith(t, {
    'mark.cjs': `process.on('SIGUSR2', () => { ${ARRIVED}; console.log('marked'); });`,
    'server.cjs': `
      const { Greeter } = require('./greeter.cjs');
      require('node:http').createServer(async (request, response) => {
        let text = '';
        request.setEncoding('utf8');
        for await (const piece of request) text += piece;
        const { name } = JSON.parse(text || '{"name":"nobody"}');
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ text: new Greeter(name).text, at: new Date().toISOString() }));
      }).${LISTEN}`,
    'greeter.cjs': `exports.Greeter = class { constructor(name) { this.name = name; } get text() { return 'Hello ' + this.name; } };`,
  });
  for (const body of [undefined, '{"name":"Ada"}']) {
    const log = join(folder, 'v8.log');
    const flags = ['--require', join(folder, 'mark.cjs'), ...logFlags(log)];
    const server = new ServerProcess(t, join(folder, 'server.cjs'), flags);
    const port = await server.line();
    await server.mark();
    const init = { ...(body && { method: 'POST', body }), headers: { connection: 'close' } };
    const answer = await fetch(`http://127.0.0.1:${port}/`, init);
    t.match(await answer.json(), { text: body ? 'Hello Ada' : 'Hello nobody' });
    await server.mark();
    server.child.kill();
    await server.ended;
    t.same(compiledIn(log), []);
  }
});

t.test('a program starts as it does without', async (t) => {
  const programs: Record<string, [source: string, ended: string, output: string, errors: RegExp]> =
    {
      'main.cjs': [
        'console.log(require.main === module, process.argv[2], typeof gc, process.execArgv.length);',
        'exit 0',
        `true argument undefined ${nodeFlags.length + 2}`,
        /^$/,
      ],
      'main.mjs': [
        `await new Promise((resolve) => setTimeout(resolve, 1));
         console.log(import.meta.url.endsWith('/main.mjs'), process.argv[2], typeof gc);`,
        'exit 0',
        'true argument undefined',
        /^$/,
      ],
      'throws.cjs': [
        `process.on('exit', (code) => console.log('exit', code)); throw new Error('at once');`,
        'exit 1',
        'exit 1',
        /throws\.cjs:1\n.*Error: at once\n {4}at Object\.<anonymous>/s,
      ],
      'rejects.mjs': [`await Promise.reject(new Error('later'));`, 'exit 1', '', /Error: later/],
      'handles.cjs': [
        `process.on('uncaughtException', (error, origin) => console.log(error.message, origin));
         throw new Error('caught');`,
        'exit 0',
        'caught uncaughtException',
        /^$/,
      ],
      'exits.cjs': ['process.exit(3);', 'exit 3', '', /^$/],
      'syntax.cjs': ['const const;', 'exit 1', '', /syntax\.cjs:1.*SyntaxError/s],
      'worker.cjs': [
        `const { Worker, isMainThread, parentPort } = require('node:worker_threads');
         if (isMainThread) new Worker(__filename).on('message', (message) => console.log(message));
         else parentPort.postMessage('from a worker');`,
        'exit 0',
        'from a worker',
        /^$/,
      ],
    };
  const sources = Object.entries(programs).map(([name, [source]]) => [name, source]);
  const folder = folderWith(t, Object.fromEntries(sources));
  const tests = Object.entries(programs).map(async ([name, [, ended, output, errors]]) => {
    const server = new ServerProcess(t, join(folder, name));
    const all = await server.output();
    t.match(
      { ended: await server.ended, all, errors: server.errors },
      { ended, all: output, errors },
      name,
    );
  });
  await Promise.all(tests);
});
