import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import {
  ErofsReader,
  parseElfFile,
  type Tree,
  treeFromPrograms,
  writeErofs,
} from '../src/index.js';
import { fsckErofs } from './support/fsck.js';
import { buildElf, type MiniElf } from './support/mini-elf.js';

const HUGE = 2 * 1024 * 1024;
const LOADER = '/lib64/ld-linux-x86-64.so.2';
const dir = mkdtempSync(join(tmpdir(), 'mayfly-programs-'));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));

/** A host root of its own: files by path, strings starting with '->' are symbolic links. */
function hostWith(files: Record<string, MiniElf | string | Buffer>): string {
  const root = mkdtempSync(join(dir, 'root-'));
  for (const [path, content] of Object.entries(files)) {
    const at = join(root, path);
    mkdirSync(dirname(at), { recursive: true });
    if (typeof content === 'string' && content.startsWith('->')) symlinkSync(content.slice(2), at);
    else if (typeof content === 'string' || Buffer.isBuffer(content)) writeFileSync(at, content);
    else writeFileSync(at, buildElf(content));
  }
  return root;
}

function has(t: Test, tree: Tree, ...paths: string[]): void {
  for (const path of paths) t.ok(tree.get(path), path);
}

t.test('a dynamic program brings loader and libraries, links kept', async (t) => {
  const root = hostWith({
    '/bin': '->usr/bin',
    '/lib': '->usr/lib',
    '/lib64': '->usr/lib64',
    '/usr/lib64/ld-linux-x86-64.so.2': '->/lib/x86_64-linux-gnu/ld.so',
    '/usr/lib/x86_64-linux-gnu/ld.so': { type: 'dyn' },
    '/usr/lib/x86_64-linux-gnu/libone.so.1': '->libone.so.1.5',
    '/usr/lib/x86_64-linux-gnu/libone.so.1.5': {
      type: 'dyn',
      needed: ['libtwo.so', 'ld-linux-x86-64.so.2'],
    },
    '/usr/lib/x86_64-linux-gnu/libtwo.so': { type: 'dyn', needed: ['libone.so.1'] },
    '/usr/bin/app': { interp: LOADER, needed: ['libone.so.1'] },
  });
  const tree = await treeFromPrograms([{ path: '/bin/app' }], { root });
  const lib = '/usr/lib/x86_64-linux-gnu';
  has(t, tree, '/usr/bin/app', `${lib}/ld.so`, `${lib}/libone.so.1.5`, `${lib}/libtwo.so`);
  t.match(tree.get('/bin'), { type: 'symlink', target: 'usr/bin' });
  t.match(tree.get('/lib'), { type: 'symlink', target: 'usr/lib' });
  t.match(tree.get(`${lib}/libone.so.1`), { type: 'symlink', target: 'libone.so.1.5' });
  has(t, tree, '/etc/passwd', '/etc/nsswitch.conf', '/dev', '/proc', '/sys', '/root', '/run');
  t.equal(tree.get('/tmp')?.mode, 0o1777);
});

t.test('libraries are looked for as ld.so does', async (t) => {
  const root = hostWith({
    '/lib64/ld-linux-x86-64.so.2': { type: 'dyn' },
    '/opt/app/bin/origin': { interp: LOADER, needed: ['libo.so'], runpath: '$ORIGIN/../lib' },
    '/opt/app/lib/libo.so': { type: 'dyn' },
    '/opt/app/bin/inherits': { interp: LOADER, needed: ['liba.so'], rpath: '/opt/r' },
    '/opt/r/liba.so': { type: 'dyn', needed: ['libb.so'] },
    '/opt/r/libb.so': { type: 'dyn' },
    '/opt/app/bin/not-inherited': { interp: LOADER, needed: ['liba.so'], runpath: '/opt/r' },
    '/opt/app/bin/foreign': { interp: LOADER, needed: ['libf.so'], rpath: '/opt/arm:/opt/f' },
    '/opt/arm/libf.so': { machine: 183 },
    '/opt/f/libf.so': { type: 'dyn' },
    '/opt/app/bin/direct': { interp: LOADER, needed: ['/opt/d/libd.so'] },
    '/opt/d/libd.so': { type: 'dyn' },
    '/opt/app/bin/cached': { interp: LOADER, needed: ['libc4.so'] },
    '/opt/c/libc4.so': { type: 'dyn' },
    '/etc/ld.so.cache': ldCache({ 'libc4.so': '/opt/c/libc4.so' }),
  });
  const of = (name: string) => treeFromPrograms([{ path: `/opt/app/bin/${name}` }], { root });
  has(t, await of('origin'), '/opt/app/lib/libo.so');
  has(t, await of('inherits'), '/opt/r/liba.so', '/opt/r/libb.so');
  await t.rejects(of('not-inherited'), {
    code: 'MAYFLY_ELF_NO_LIBRARY',
    message: /libb\.so, which \/opt\/r\/liba\.so needs, was not found; looked in .*\/usr\/lib/,
  });
  has(t, await of('foreign'), '/opt/f/libf.so');
  has(t, await of('direct'), '/opt/d/libd.so');
  has(t, await of('cached'), '/opt/c/libc4.so', '/etc/ld.so.cache');
});

t.test('musl programs search as musl does', async (t) => {
  const root = hostWith({
    '/lib/ld-musl-x86_64.so.1': { type: 'dyn' },
    '/usr/lib/libz.so.1': { type: 'dyn' },
    '/bin/app': {
      interp: '/lib/ld-musl-x86_64.so.1',
      needed: ['libz.so.1', 'libc.musl-x86_64.so.1'],
    },
  });
  const tree = await treeFromPrograms([{ path: '/bin/app' }], { root });
  has(t, tree, '/lib/ld-musl-x86_64.so.1', '/usr/lib/libz.so.1');
});

t.test('scripts bring their interpreters', async (t) => {
  const root = hostWith({
    '/bin/sh': { type: 'exec' },
    '/usr/bin/env': { type: 'exec' },
    '/usr/bin/python': { type: 'exec' },
    '/opt/plain': '#!/bin/sh -e\necho\n',
    '/opt/by-name': '#!/usr/bin/env -S python -u\n',
    '/opt/nested': '#!/opt/plain\n',
    '/opt/nowhere': '#!/bin/none\n',
    '/opt/circle': '#!/opt/circle\n',
  });
  const of = (path: string) => treeFromPrograms([{ path }], { root });
  has(t, await of('/opt/plain'), '/opt/plain', '/bin/sh');
  has(t, await of('/opt/by-name'), '/usr/bin/env', '/usr/bin/python');
  has(t, await of('/opt/nested'), '/bin/sh');
  await t.rejects(of('/opt/nowhere'), {
    code: 'MAYFLY_ELF_NO_INTERPRETER',
    message: /\/bin\/none/,
  });
  await t.rejects(of('/opt/circle'), { code: 'MAYFLY_ELF_NO_INTERPRETER', message: /circles/ });
});

t.test('says what is wrong with a program', async (t) => {
  const root = hostWith({
    '/bin/arm': { machine: 183 },
    '/bin/text': 'hello',
    '/bin/broken': buildElf({ interp: LOADER }).subarray(0, 100),
    '/bin/no-loader': { interp: LOADER },
    '/bin/loop': '->loop',
  });
  const of = (path: string) => treeFromPrograms([{ path }], { root });
  await t.rejects(of('/bin/arm'), { code: 'MAYFLY_ELF_WRONG_ARCH' });
  await t.rejects(of('/bin/text'), { code: 'MAYFLY_ELF_NOT_ELF' });
  await t.rejects(of('/bin/broken'), { code: 'MAYFLY_ELF_DAMAGED' });
  await t.rejects(of('/bin/no-loader'), { code: 'MAYFLY_ELF_NO_INTERPRETER', message: /ld-linux/ });
  await t.rejects(of('/bin/none'), { code: 'MAYFLY_IMAGE_NO_FILE' });
  await t.rejects(of('/bin/loop'), { code: 'MAYFLY_IMAGE_NO_FILE' });
  await t.rejects(of('/bin'), { code: 'MAYFLY_IMAGE_NO_FILE' });
});

t.test('extra files go where symbolic links lead, and win', async (t) => {
  const root = hostWith({ '/bin': '->usr/bin', '/usr/bin/app': { type: 'exec' } });
  const folder = hostWith({ '/a/one': '1', '/a/two': '2' });
  const tree = await treeFromPrograms([{ path: '/bin/app' }], {
    root,
    extra: [
      { guestPath: '/bin/agent', bytes: Buffer.from('agent'), mode: 0o755 },
      { guestPath: '/etc/hosts', bytes: Buffer.from('mine') },
      { guestPath: '/app', hostPath: folder },
    ],
  });
  t.match(tree.get('/usr/bin/agent'), { type: 'file', mode: 0o755, uid: 0 });
  t.match(tree.get('/etc/hosts'), { source: { bytes: Buffer.from('mine') } });
  has(t, tree, '/app/a/one', '/app/a/two');
  const bad = { guestPath: '../x', bytes: Buffer.from('') };
  await t.rejects(treeFromPrograms([], { extra: [bad] }), { code: 'MAYFLY_IMAGE_BAD_PATH' });
  const clash = { guestPath: '/a/b', bytes: Buffer.from('') };
  const file = { guestPath: '/a', bytes: Buffer.from('') };
  await t.rejects(treeFromPrograms([], { extra: [file, clash] }), {
    code: 'MAYFLY_IMAGE_CONFLICT',
  });
  await t.rejects(treeFromPrograms([], { extra: [clash, file] }), {
    code: 'MAYFLY_IMAGE_CONFLICT',
  });
});

t.test('native modules in an extra folder bring their libraries', async (t) => {
  const root = hostWith({
    '/usr/lib/libssl.so.3': { type: 'dyn', needed: ['libz.so.1'] },
    '/usr/lib/libz.so.1': { type: 'dyn' },
  });
  const folder = hostWith({
    '/native/ssl.so': {
      type: 'dyn',
      needed: ['libssl.so.3', 'libown.so'],
      runpath: '$ORIGIN/../own',
    },
    '/own/libown.so': { type: 'dyn', needed: ['libz.so.1'] },
    '/native/musl.so': { type: 'dyn', needed: ['libc.musl-x86_64.so.1'] },
    '/native/arm.so': { machine: 183 },
    '/native/index.js': 'x',
  });
  const extra = [{ guestPath: '/app', hostPath: folder, libraries: true }];
  const tree = await treeFromPrograms([], { root, extra });
  has(t, tree, '/usr/lib/libssl.so.3', '/usr/lib/libz.so.1', '/app/native/musl.so');
});

t.test('the root of the running node boots', async (t) => {
  const image = join(dir, 'node.erofs');
  const tree = await treeFromPrograms([{ path: process.execPath }]);
  await writeErofs(tree, image);
  const out = join(dir, 'node');
  fsckErofs(image, out);
  checkCongruence(t, image);
  if (process.getuid?.() !== 0) return t.comment('not root: node is not started in its own root');
  chmodSync(out, 0o755);
  const script =
    'console.log(require("node:crypto").createHash("sha256").update("x").digest("hex").length)';
  const run = spawnSync('chroot', [out, process.execPath, '-e', script], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
  });
  t.equal(run.stdout, '64\n', run.stderr);
});

/** The program's first segment and its place in the image must agree modulo 2 MiB; libraries start at a multiple. */
function checkCongruence(t: Test, image: string): void {
  const reader = new ErofsReader(image);
  const large = [...reader.list()].filter(
    ({ type, size }) => type === 'file' && size >= 1024 * 1024,
  );
  t.ok(large.length >= 1);
  for (const { path, offset } of large) {
    const elf = parseElfFile(path);
    const first = elf.programHeaders.find(({ type }) => type === 1)!;
    const want = elf.type === 'exec' ? (first.vaddr - first.offset) % HUGE : 0;
    t.equal((offset ?? Number.NaN) % HUGE, want, path);
  }
  reader.close();
}

/** A cache in glibc's format: header, entries of 24 bytes, strings. */
function ldCache(libraries: Record<string, string>): Buffer {
  const entries = Object.entries(libraries);
  const header = Buffer.alloc(48 + entries.length * 24);
  header.write('glibc-ld.so.cache1.1', 'latin1');
  header.writeUInt32LE(entries.length, 20);
  let strings = '';
  entries.forEach(([name, path], index) => {
    const at = 48 + index * 24;
    header.writeInt32LE(0x0303, at);
    header.writeUInt32LE(header.length + strings.length, at + 4);
    header.writeUInt32LE(header.length + strings.length + name.length + 1, at + 8);
    strings += `${name}\0${path}\0`;
  });
  return Buffer.concat([header, Buffer.from(strings)]);
}

t.test(
  'an interpreter brings its own library, by its prefix, and what its modules need',
  async (t) => {
    const root = hostWith({
      '/opt/py/bin/python3': '->python3.12',
      '/opt/py/bin/python3.12': { type: 'dyn' },
      '/opt/py/lib/python3.12/os.py': 'os',
      '/opt/py/lib/python3.12/lib-dynload/_db.cpython-312.so': {
        type: 'dyn',
        needed: ['libdb.so'],
      },
      '/opt/py/lib/python3.12/test/test_os.py': 'left out',
      '/opt/py/lib/python3.12/site-packages/flask.py': 'there if it is wanted',
      '/usr/lib/libdb.so': { type: 'dyn', needed: ['libssl.so.3'] },
      '/usr/lib/libssl.so.3': { type: 'dyn' },
      '/etc/ssl/certs/ca-certificates.crt': 'certificates',
      '/etc/services': 'http 80/tcp',
      '/etc/python3.12/sitecustomize.py': 'site',
      '/usr/lib/python3.11/os.py': 'of another python',
      '/usr/lib/ruby/set.rb': 'of another language',
    });
    chmodSync(join(root, '/opt/py/bin/python3.12'), 0o755);
    const tree = await treeFromPrograms([{ path: '/opt/py/bin/python3' }], { root });
    has(
      t,
      tree,
      '/opt/py/lib/python3.12/os.py',
      '/opt/py/lib/python3.12/lib-dynload/_db.cpython-312.so',
      '/usr/lib/libdb.so',
      '/usr/lib/libssl.so.3',
      '/etc/ssl/certs/ca-certificates.crt',
      '/etc/services',
      '/etc/python3.12/sitecustomize.py',
    );
    for (const path of ['/opt/py/lib/python3.12/test', '/usr/lib/python3.11', '/usr/lib/ruby'])
      t.notOk(tree.get(path), path);
    const packages = '/opt/py/lib/python3.12/site-packages';
    has(t, tree, `${packages}/flask.py`);
    const options = { root, without: /\/site-packages$/ };
    const bare = await treeFromPrograms([{ path: '/opt/py/bin/python3' }], options);
    has(t, bare, '/opt/py/lib/python3.12/os.py');
    t.notOk(bare.get(packages));
  },
);

t.test('who has an interpreter as a library brings that one’s files too', async (t) => {
  const root = hostWith({
    '/usr/bin/gdb': { type: 'dyn', needed: ['libpython3.11.so.1.0'] },
    '/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0': { type: 'dyn' },
    '/usr/lib/python3.11/encodings/utf_8.py': 'utf-8',
    '/usr/bin/pypy3': { type: 'dyn' },
    '/usr/lib/pypy3.9/json/decoder.py': 'json',
    '/usr/lib/ocaml/stublibs/dllunix.so': { type: 'dyn' },
    '/usr/lib/ocaml/unix.cmi': 'unix',
    '/usr/bin/ocaml': '->ocamlrun',
    '/usr/bin/ocamlrun': { type: 'dyn' },
  });
  for (const name of ['pypy3', 'ocamlrun']) chmodSync(join(root, 'usr/bin', name), 0o755);
  const tree = (name: string) => treeFromPrograms([{ path: `/usr/bin/${name}` }], { root });
  has(t, await tree('gdb'), '/usr/lib/python3.11/encodings/utf_8.py');
  has(t, await tree('pypy3'), '/usr/lib/pypy3.9/json/decoder.py');
  has(t, await tree('ocaml'), '/usr/lib/ocaml/stublibs/dllunix.so', '/usr/lib/ocaml/unix.cmi');
  t.notOk((await tree('ocamlrun')).get('/usr/lib/ocaml/unix.cmi'));
});
