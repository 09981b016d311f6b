/**
 * Other ways to answer a request in a sandbox of its own, each behind a plain Node.js server, and two that reuse one.
 * Started by startServers().
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer as createSocketServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { ANSWER, SCRIPT, SOURCE } from './hello.js';

/** By peer: its URL, or why it is not there. */
export type PeerUrls = Record<string, { url: string } | { missing: string }>;

type Answer = () => string | Promise<string>;

const run = promisify(execFile);
const peersRequire = createRequire(
  fileURLToPath(new URL('../../peers/package.json', import.meta.url)),
);
const dir = mkdtempSync(join(tmpdir(), 'mayfly-peers-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
process.on('disconnect', () => process.exit());

const modulePath = join(dir, 'hello.mjs');
writeFileSync(modulePath, SOURCE);
const CALL = `import f from ${JSON.stringify(modulePath)};
const response = await f.fetch(new Request('http://localhost/'));
process.stdout.write(await response.text());`;

/** Each makes what answers; it throws where something is not installed. */
const peers: Record<string, () => Promise<Answer>> = {
  plain: async () => () => ANSWER,
  process: async () => async () => (await run('/bin/echo', ['hello'])).stdout,
  node: async () => async () =>
    (await run(process.execPath, ['--input-type=module', '-e', CALL])).stdout,
  worker: async () => async () => {
    const code = `require('node:worker_threads').parentPort.postMessage(${SCRIPT})`;
    const worker = new Worker(code, { eval: true });
    const [answer] = await once(worker, 'message');
    await worker.terminate();
    return answer;
  },
  'isolated-vm': isolates,
  quickjs: runtimes,
};

interface IsolateModule {
  Isolate: new (options: {
    memoryLimit: number;
  }) => {
    createContextSync(): unknown;
    compileScriptSync(code: string): { runSync(context: unknown): string };
    dispose(): void;
  };
}

async function isolates(): Promise<Answer> {
  const { Isolate } = peersRequire('isolated-vm') as IsolateModule;
  return () => {
    const isolate = new Isolate({ memoryLimit: 64 });
    try {
      return isolate.compileScriptSync(SCRIPT).runSync(isolate.createContextSync());
    } finally {
      isolate.dispose();
    }
  };
}

interface QuickJsHandle {
  dispose(): void;
}

interface QuickJsModule {
  getQuickJS(): Promise<{
    newRuntime(): QuickJsHandle & {
      newContext(): QuickJsHandle & {
        evalCode(code: string): unknown;
        unwrapResult(result: unknown): QuickJsHandle;
        getString(handle: QuickJsHandle): string;
      };
    };
  }>;
}

async function runtimes(): Promise<Answer> {
  const quickJs = await (peersRequire('quickjs-emscripten') as QuickJsModule).getQuickJS();
  return () => {
    const runtime = quickJs.newRuntime();
    const context = runtime.newContext();
    const value = context.unwrapResult(context.evalCode(SCRIPT));
    const answer = context.getString(value);
    for (const handle of [value, context, runtime]) handle.dispose();
    return answer;
  };
}

async function serve(name: string): Promise<string> {
  const answer = await peers[name]!();
  if ((await answer()) !== ANSWER) throw new Error(`${name} does not answer as it should`);
  const server = createServer(async (_request, response) => {
    try {
      response.end(await answer());
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

async function freePort(): Promise<number> {
  const server = createSocketServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const COMPATIBILITY_DATE = '2025-06-01';

/** Loads the module into an isolate of its own at each request. */
const LOADER = `let count = 0;
export default { fetch(request, env) {
  const code = { compatibilityDate: ${JSON.stringify(COMPATIBILITY_DATE)}, mainModule: 'main.js',
    modules: { 'main.js': ${JSON.stringify(SOURCE)} } };
  return env.LOADER.get(String(count++), () => code).getEntrypoint().fetch(request);
} };`;

/** workerd's own server: one worker for all requests, and one that loads a new isolate for each. */
async function workerd(): Promise<{ reuse: string; fresh: string }> {
  const [reuse, fresh] = [await freePort(), await freePort()];
  const worker = (code: string, bindings = '') => `(
    modules = [(name = "main", esModule = ${JSON.stringify(code)})],
    compatibilityDate = "${COMPATIBILITY_DATE}", ${bindings})`;
  const socket = (name: string, port: number) =>
    `(name = "${name}", address = "127.0.0.1:${port}", http = (), service = "${name}")`;
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "reuse", worker = .reuse), (name = "fresh", worker = .fresh)],
  sockets = [${socket('reuse', reuse)}, ${socket('fresh', fresh)}]);
const reuse :Workerd.Worker = ${worker(SOURCE)};
const fresh :Workerd.Worker = ${worker(LOADER, 'bindings = [(name = "LOADER", workerLoader = ())]')};
`;
  const path = join(dir, 'config.capnp');
  writeFileSync(path, config);
  const { default: program } = peersRequire('workerd') as { default: string };
  const child = spawn(program, ['serve', path, '--experimental'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  process.on('exit', () => child.kill());
  const urls = { reuse: `http://127.0.0.1:${reuse}/`, fresh: `http://127.0.0.1:${fresh}/` };
  for (const url of Object.values(urls)) await answers(url, child);
  return urls;
}

async function answers(url: string, child: { exitCode: number | null }): Promise<void> {
  for (let i = 0; i < 300 && child.exitCode === null; i++) {
    const text = await fetch(url).then(
      (response) => response.text(),
      () => '',
    );
    if (text === ANSWER) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('workerd does not answer');
}

const urls: PeerUrls = {};
const missing = (error: unknown) => ({
  missing: ((error as NodeJS.ErrnoException).message ?? String(error)).split('\n', 1)[0]!,
});
for (const name of Object.keys(peers)) {
  urls[name] = await serve(name).then((url) => ({ url }), missing);
}
const both = await workerd().catch(missing);
urls['workerd-fresh'] = 'missing' in both ? both : { url: both.fresh };
urls.workerd = 'missing' in both ? both : { url: both.reuse };
process.send?.(urls);
