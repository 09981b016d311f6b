/** From files to what a guest boots; what cannot be a function is refused with what is wrong. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeFlags } from '@mayfly/guest-agent';
import { ErofsReader, ImageStore, treeFromPrograms } from '@mayfly/image';
import t from 'tap';
import type { Layers, Runtime, Source } from '../src/index.js';
import { ImageLayers } from '../src/layers.js';
import { httpProgram } from '../src/runtimes/http.js';
import { nativeProgram } from '../src/runtimes/native.js';
import { pythonProgram } from '../src/runtimes/python.js';
import { wasmProgram } from '../src/runtimes/wasm.js';
import { warmUpCalls } from '../src/warm-up.js';

const folder = mkdtempSync(join(tmpdir(), 'mayfly-runtimes-'));
t.teardown(() => rmSync(folder, { recursive: true }));

const layers: Layers = { programs: async (paths) => `base:${paths}`, files: async () => 'files' };

function source(files: Record<string, string | Uint8Array>, rest: Partial<Source> = {}): Source {
  const all = Object.entries(files).map(([name, content]) => [
    name,
    { bytes: Buffer.from(content as string), executable: false },
  ]);
  return { name: 'f', files: new Map(all as []), ...rest };
}

function compiled(name: string, text: string, ...flags: string[]): Buffer {
  const program = join(folder, name);
  writeFileSync(`${program}.c`, text);
  execFileSync('gcc', ['-o', program, `${program}.c`, ...flags]);
  return readFileSync(program);
}

const HELLO = 'int main(void) { return 0; }';
const plain = compiled('plain', HELLO, '-static');
const dynamic = compiled(
  'dynamic',
  '#include <math.h>\nint main(int c, char **v) { return (int)sin(c + !v); }',
  '-lm',
);

t.test('native modules bring the libraries that they need of the host', async (t) => {
  const libm = ['-shared', '-fPIC', '-nostartfiles', '-Wl,--no-as-needed', '-lm'];
  const module = compiled('m.so', 'int answer(void) { return 42; }', ...libm);
  const seen: string[] = [];
  const spy: Layers = {
    ...layers,
    programs: async (paths, extra) => {
      for (const one of extra) {
        if (!('libraries' in one) || !('hostPath' in one)) continue;
        seen.push(one.guestPath, ...readdirSync(one.hostPath, { recursive: true }).map(String));
        const tree = await treeFromPrograms([], { extra: [one] });
        seen.push(...[...tree.entries('/')].map(({ path }) => path).filter((p) => /libm/.test(p)));
      }
      return paths.join();
    },
  };
  const files = {
    'main.py': '',
    'vendor/p/m.cpython-311-x86_64-linux-gnu.so': module,
    'x.so': 'text',
  };
  const inPackages = ['vendor', 'vendor/p', 'vendor/p/m.cpython-311-x86_64-linux-gnu.so'];
  const addOn = { 'server.js': '', 'node_modules/p/m.node': module };
  const inModules = ['node_modules', 'node_modules/p', 'node_modules/p/m.node'];
  for (const [program, expected] of [
    [() => pythonProgram(source(files), spy), inPackages],
    [() => httpProgram(source(files, { command: ['python3', 'main.py'] }), spy), inPackages],
    [() => httpProgram(source(addOn, { command: ['node', 'server.js'] }), spy), inModules],
  ] as const) {
    seen.length = 0;
    await program();
    const at = seen.indexOf('/function');
    t.same(seen.slice(at + 1, at + 4), expected);
    t.match(seen.at(-1), /libm\.so\.6$|libm-/);
  }
});

t.test('programs of each runtime', async (t) => {
  const warmup = warmUpCalls({ warmup: '/w' });
  t.match(await pythonProgram(source({ 'main.py': '' }), layers), {
    argv: [/python3$/, '-S', '-B', '-X', 'utf8', '/mayfly/python/agent.py'],
    env: { MAYFLY_FUNCTION: '/function/main.py' },
  });
  t.match(await pythonProgram(source({ 'main.py': '' }, { warmup }), layers), {
    env: { MAYFLY_WARMUP: JSON.stringify(warmup) },
  });
  await t.rejects(nativeProgram(source({ p: plain }, { warmup }), layers), {
    code: 'MAYFLY_SOURCE_INVALID',
    message: /has no warmup/,
  });
  const warmServer = source({ 's.py': '' }, { command: ['python3', 's.py'], warmup });
  t.match(await httpProgram(warmServer, layers), { dialect: { kind: 'http', warmup } });
  t.match(await pythonProgram(source({ 'only.py': '', 'a/b.py': '' }), layers), {
    env: { MAYFLY_FUNCTION: '/function/only.py' },
  });
  t.match(await pythonProgram(source({ 'a.py': '' }, { entry: 'a.py:x' }), layers), {
    env: { MAYFLY_FUNCTION: '/function/a.py:x' },
  });
  t.match(await nativeProgram(source({ p: plain }, { command: ['./p', '-v'] }), layers), {
    images: ['base:', 'files'],
    argv: ['/function/p', '-v'],
    cwd: '/function',
    dialect: { kind: 'stdio' },
  });
  const mark = Buffer.concat([plain, Buffer.from('mayfly: speaks frames')]);
  t.match(await nativeProgram(source({ p: mark }), layers), { dialect: { kind: 'frames' } });
  t.match(await nativeProgram(source({ d: dynamic }), layers), {
    images: [/^base:\/lib64\/ld-linux/, 'files'],
  });
  const server = source({ 's.js': '' }, { command: ['node', 's.js'], port: 3000 });
  t.match(await httpProgram(server, layers), {
    argv: [
      process.execPath,
      ...nodeFlags,
      '--enable-source-maps',
      '--require',
      '/mayfly/preload-node.cjs',
      's.js',
    ],
    env: { PORT: '3000' },
    dialect: { kind: 'http', port: 3000 },
  });
  const flask = { 'app.py': '', 'vendor/flask.py': '' };
  t.same((await httpProgram(source(flask, { command: ['python3', 'app.py'] }), layers)).defaults, {
    HOST: '127.0.0.1',
    PYTHONPATH: '/function/vendor:/mayfly/python',
    PYTHONDONTWRITEBYTECODE: '1',
    PYTHONUNBUFFERED: '1',
  });
  t.match(await httpProgram(source({ p: plain }, { command: ['p'] }), layers), {
    argv: ['/function/p'],
    defaults: { HOST: '127.0.0.1', PYTHONPATH: undefined },
    dialect: { kind: 'http', port: 8080 },
  });
  const module = Buffer.from('\0asm\x01\0\0\0', 'latin1');
  t.match(await wasmProgram(source({ 'm.wasm': module }), layers), {
    env: { MAYFLY_FUNCTION: '/function/m.wasm' },
  });
});

t.test('a dynamic program has its loader and libraries in the image', async (t) => {
  const store = await ImageStore.open(join(folder, 'images'));
  const { images } = await nativeProgram(source({ d: dynamic }), new ImageLayers(store));
  const reader = new ErofsReader(images[0] ?? '');
  const paths = [...reader.list()].map(({ path }) => path);
  for (const name of ['/ld-linux-x86-64.so.2', '/libc.so.6', '/libm.so.6']) {
    t.ok(
      paths.some((path) => path.endsWith(name)),
      name,
    );
  }
});

t.test('what is no function is refused', async (t) => {
  const arm = Buffer.from(plain);
  arm.writeUInt16LE(183, 18); // EM_AARCH64
  const cases: [Runtime, Source, RegExp][] = [
    [pythonProgram, source({ 'a.py': '', 'b.py': '' }), /say with "entry"/],
    [pythonProgram, source({ 'a.py': '' }, { entry: 'b.py' }), /b\.py is not among the files/],
    [nativeProgram, source({ p: 'text' }), /p is not an ELF file/],
    [nativeProgram, source({ p: '#!/bin/sh\n' }), /p is a script of \/bin\/sh; of this host/],
    [nativeProgram, source({ p: '#!/usr/bin/env python3\n' }), /: "command": \["python3","p"\]/],
    [httpProgram, source({ 's.mjs': '' }), /s\.mjs is a script; .* "command": \["node","s\.mjs"\]/],
    [nativeProgram, source({ p: arm }), /x86-64/],
    [nativeProgram, source({ p: plain.subarray(0, 100) }), /damaged|ends inside|outside/],
    [nativeProgram, source({ a: plain, b: plain }), /program f is not among the files/],
    [nativeProgram, source({ p: plain }, { command: ['/bin/sh'] }), /\/bin\/sh is not among/],
    [httpProgram, source({ 's.rb': '' }, { command: ['ruby', 's.rb'] }), /node and python3/],
    [wasmProgram, source({ a: '' }), /no \.wasm file/],
    [wasmProgram, source({ 'a.wasm': 'text' }), /no WebAssembly module/],
    [wasmProgram, source({ 'a.wasm': '', 'b.wasm': '' }), /several/],
  ];
  for (const [runtime, files, message] of cases) {
    await t.rejects(
      runtime(files, layers),
      { code: 'MAYFLY_SOURCE_INVALID', message },
      `${message}`,
    );
  }
});
