/** The whole line: HTTP in, a function in a real machine, its answer out. Needs KVM. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type RunningServer, startServer } from '../src/index.js';

if (!existsSync('/dev/kvm')) t.plan(0, 'no /dev/kvm on this host');
else await wholeLine();

async function wholeLine(): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-machine-'));
  const server: RunningServer = await startServer({ port: 0, dataDir });
  t.teardown(async () => {
    await server.close();
    rmSync(dataDir, { recursive: true });
  });
  const deploy = async (name: string, source: string, options: object = {}) => {
    const response = await fetch(`${server.url}/v1/functions/${name}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ source, ...options }),
    });
    return { status: response.status, ...((await response.json()) as object) };
  };
  const call = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${server.url}/fn/${path}`, init);
    return { status: response.status, text: await response.text() };
  };
  const code = ({ status, text }: { status: number; text: string }) =>
    `${status} ${JSON.parse(text).code}`;

  t.test('the example: pristine, and unique', async (t) => {
    const path = new URL('../../../guest-agent/examples/hello.mjs', import.meta.url);
    t.match(await deploy('hello', readFileSync(path, 'utf8')), { status: 200, state: 'ready' });
    const answers = [];
    for (let i = 0; i < 10; i++) answers.push(JSON.parse((await call('hello?name=a')).text));
    t.ok(answers.every(({ hello, counter }) => hello === 'a' && counter === 1));
    t.equal(new Set(answers.map(({ id }) => id)).size, 10);
    t.equal(new Set(answers.map(({ pid }) => pid)).size, 10);
  });

  t.test('requests at the same time', async (t) => {
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) => call(`hello?name=${i}`)),
    );
    const names = answers.map(({ text }) => JSON.parse(text));
    t.same(
      names.map(({ hello, counter }) => [hello, counter]),
      names.map((_, i) => [String(i), 1]),
    );
  });

  t.test('fetch functions: timers, bodies of a megabyte, randomness', async (t) => {
    const source = `
      const early = Math.random;
      export default { async fetch(request) {
        const { pathname } = new URL(request.url);
        if (pathname === '/random') return Response.json([early(), Math.random(), crypto.randomUUID()]);
        if (pathname === '/sleep') {
          const start = performance.now();
          await new Promise((r) => setTimeout(r, 50));
          return Response.json(performance.now() - start);
        }
        return new Response((await request.bytes?.()) ?? await request.arrayBuffer());
      } }`;
    t.match(await deploy('web', source), { status: 200, exports: 'fetch' });
    const body = 'é'.repeat(1 << 19);
    t.equal((await call('web/echo', { method: 'POST', body })).text, body);
    const slept = Number((await call('web/sleep')).text);
    t.ok(slept >= 49 && slept < 2000, `slept ${slept} ms`);
    const [a, b] = [await call('web/random'), await call('web/random')];
    t.equal(new Set([...JSON.parse(a.text), ...JSON.parse(b.text)]).size, 6);
  });

  t.test('failures are told apart, and the next invocation is pristine', async (t) => {
    const source = `let broken = 0; export async function handler({ path }) {
      if (broken++) return 'dirty';
      if (path === '/throw') throw new Error('x');
      if (path === '/exit') process.exit(3);
      if (path === '/stall') await new Promise(() => {});
      if (path === '/spin') for (;;);
      return 'fine'; }`;
    t.match(await deploy('fails', source, { timeoutMs: 1500 }), { status: 200 });
    for (const [path, expected] of [
      ['throw', '502 FUNCTION_THREW'],
      ['exit', '502 FUNCTION_EXITED'],
      ['stall', '502 FUNCTION_STALLED'],
      ['spin', '504 MAYFLY_GUEST_TIMEOUT'],
    ]) {
      t.equal(code(await call(`fails/${path}`)), expected);
      t.same(await call('fails/fine'), { status: 200, text: '"fine"' }, `after ${path}`);
    }
  });

  t.test('a function that cannot be loaded is refused', async (t) => {
    t.match(await deploy('bad', 'throw new Error("at load")'), {
      status: 400,
      code: 'FUNCTION_THREW',
      message: 'at load',
    });
    t.match(await deploy('bad', 'process.exit(1)'), {
      status: 400,
      code: 'FUNCTION_EXITED',
    });
  });
}
