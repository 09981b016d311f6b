/** Sources of images: archives with layers, layouts, folders, other writers' images; and their names. */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import {
  ErofsReader,
  findStart,
  ImageLibrary,
  type ImageRecord,
  ImageRoot,
  type ImportProgress,
  type Tree,
  writeErofs,
} from '../src/index.js';
import { fsckErofs } from './support/fsck.js';
import { buildElf } from './support/mini-elf.js';
import { ATTRIBUTES, fileOf, treeOf } from './support/random-tree.js';
import { dockerMembers, type Member, ociFiles, tarOf, writeFolder, zstd } from './support/tars.js';

const base = mkdtempSync(join(tmpdir(), 'mayfly-library-'));
t.teardown(() => rmSync(base, { recursive: true, force: true }));

let files = 0;
function file(content: Buffer | string, name = 'file'): string {
  const path = join(base, `${files++}-${name}`);
  writeFileSync(path, content);
  return path;
}

const folder = () => mkdtempSync(join(base, 'folder-'));
const library = () => ImageLibrary.open(mkdtempSync(join(base, 'library-')));

/** What is in a record's layers: path to content, link target or type. */
async function contents(from: ImageLibrary, record: ImageRecord): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const digest of record.layers) {
    const image = await from.store.get(digest);
    fsckErofs(image!.path);
    const reader = new ErofsReader(image!.path);
    for (const { path, type, target } of reader.list()) {
      if (type === 'dir') continue;
      found[path] = type === 'file' ? reader.readFile(path)!.toString() : (target ?? type);
    }
    reader.close();
  }
  return found;
}

const LOWER: Member[] = [
  { name: 'etc/', type: 'directory', mode: 0o755 },
  { name: 'etc/kept', content: 'kept' },
  { name: 'etc/gone', content: 'gone' },
  { name: 'old/', type: 'directory' },
  { name: 'old/a', content: 'a' },
  { name: 'old/sub/b', content: 'b' },
  { name: 'usr/lib/x', content: 'x' },
  { name: 'lib', type: 'symlink', linkname: 'usr/lib' },
  { name: 'first', content: 'one file', uid: 7, gid: 8, mode: 0o4755 },
  { name: 'second', type: 'link', linkname: 'first' },
  { name: 'dev/null', type: 'character-device', devmajor: 1, devminor: 3 },
];
const UPPER: Member[] = [
  { name: 'etc/.wh.gone' },
  { name: 'old/new', content: 'new' },
  { name: 'old/.wh..wh..opq' },
  { name: 'lib/y', content: 'y' },
  { name: 'first', content: 'another file' },
];
const MERGED = {
  '/etc/kept': 'kept',
  '/old/new': 'new',
  '/usr/lib/x': 'x',
  '/usr/lib/y': 'y',
  '/lib': 'usr/lib',
  '/first': 'another file',
  '/second': 'one file',
};
const CONFIG = {
  Entrypoint: ['/bin/app'],
  Cmd: ['serve'],
  Env: ['A=b=c', 'PATH=/bin'],
  WorkingDir: '/srv',
  User: 'nobody',
};
const PARSED = {
  entrypoint: ['/bin/app'],
  cmd: ['serve'],
  env: { A: 'b=c', PATH: '/bin' },
  cwd: '/srv',
  user: 'nobody',
};

async function twoLayers() {
  return { layers: [await tarOf(LOWER), await tarOf(UPPER)], config: CONFIG };
}

t.test('a container image is its layers, merged, however it is packed', async (t) => {
  const image = await twoLayers();
  const oci = ociFiles([{ layers: [await tarOf([])], architecture: 'arm64' }, image], gzipSync);
  const sources: Record<string, string> = {
    'docker save': file(await tarOf(dockerMembers(image))),
    'docker save, gzip within gzip': file(gzipSync(await tarOf(dockerMembers(image, gzipSync)))),
    'OCI layout': writeFolder(folder(), oci),
    'OCI layout in zstd': writeFolder(folder(), ociFiles([image], zstd)),
    'OCI layout in a tar file': file(
      await tarOf([...oci].map(([name, content]) => ({ name, content }))),
    ),
  };
  const images = await library();
  const digests = new Set<string>();
  for (const [name, source] of Object.entries(sources)) {
    const record = await images.import(source);
    t.same(await contents(images, record), MERGED, name);
    t.same(record.config, PARSED);
    for (const digest of record.layers) digests.add(digest);
  }
  t.equal(digests.size, 1, 'the same image, bit for bit');
});

t.test('owners, modes and times are kept, device files are not', async (t) => {
  const images = await library();
  const record = await images.import(file(await tarOf(LOWER)));
  t.match(record.notes, [/^1 device files were left out/]);
  const reader = new ErofsReader((await images.store.get(record.layers[0]!))!.path);
  t.match(reader.stat('/first'), {
    uid: 7,
    gid: 8,
    mode: 0o4755,
    linkCount: 2,
    mtimeNs: 10n ** 21n / 1000n,
  });
  t.equal(reader.stat('/first')?.nid, reader.stat('/second')?.nid, 'one file with two names');
  reader.close();
});

t.test('an archive is read once, and says how far it is', async (t) => {
  const images = await library();
  const source = writeFolder(folder(), ociFiles([await twoLayers()]));
  const steps: ImportProgress[] = [];
  const first = await images.import(source, (step) => steps.push(step));
  t.match(steps[0], { step: 'read', layer: 1, layers: 2 });
  t.match(steps.at(-1), { step: 'write' });
  t.equal(steps.at(-1)?.doneBytes, steps.at(-1)?.totalBytes);
  steps.length = 0;
  t.same(await images.import(source, (step) => steps.push(step)), first);
  t.same(steps, []);
});

t.test('names that lead out stay inside', async (t) => {
  const images = await library();
  const record = await images.import(
    file(
      await tarOf([
        { name: '../../outside', content: '1' },
        { name: '/absolute', content: '2' },
        { name: 'out', type: 'symlink', linkname: '../../../..' },
        { name: 'out/through-link', content: '3' },
        { name: 'etc', type: 'symlink', linkname: '/etc' },
      ]),
    ),
  );
  t.same(await contents(images, record), {
    '/outside': '1',
    '/absolute': '2',
    '/out': '../../../..',
    '/through-link': '3',
    '/etc': '/etc',
  });
  const bad = file(await tarOf([{ name: 'x', type: 'link', linkname: '../../etc/passwd' }]));
  await t.rejects(images.import(bad), { code: 'MAYFLY_IMAGE_BAD_LINK' });
  const layout = ociFiles([await twoLayers()]);
  layout.set(
    'index.json',
    Buffer.from('{"manifests":[{"digest":"sha256:../../../../../../etc/passwd"}]}'),
  );
  await t.rejects(images.import(writeFolder(folder(), layout)), {
    code: 'MAYFLY_IMAGE_ARCHIVE_DAMAGED',
  });
});

t.test('damage is named and leaves nothing behind', async (t) => {
  const dir = mkdtempSync(join(base, 'library-'));
  const images = await ImageLibrary.open(dir);
  const image = await twoLayers();
  const whole = gzipSync(await tarOf(dockerMembers(image)));
  const flipped = await tarOf(dockerMembers(image));
  flipped[flipped.indexOf('another file')]! ^= 1;
  const arm = await tarOf(dockerMembers({ ...image, architecture: 'arm64' }));
  const layout = ociFiles([image, image]);
  const missing = ociFiles([image]);
  for (const name of missing.keys()) if (name.startsWith('blobs/')) missing.delete(name);
  for (const [source, code] of [
    [file(whole.subarray(0, whole.length - 200)), 'MAYFLY_IMAGE_ARCHIVE_DAMAGED'],
    [file('not an archive at all'.repeat(100)), 'MAYFLY_IMAGE_ARCHIVE_DAMAGED'],
    [file(flipped), 'MAYFLY_IMAGE_ARCHIVE_DAMAGED'],
    [file(arm), 'MAYFLY_IMAGE_NO_PLATFORM'],
    [writeFolder(folder(), layout), 'MAYFLY_IMAGE_AMBIGUOUS'],
    [writeFolder(folder(), missing), 'MAYFLY_IMAGE_ARCHIVE_DAMAGED'],
    [file(await tarOf([{ name: 'manifest.json', content: '[' }])), 'MAYFLY_IMAGE_ARCHIVE_DAMAGED'],
    [join(base, 'not there'), 'MAYFLY_IMAGE_NO_FILE'],
  ]) {
    await t.rejects(images.import(source!), { code });
  }
  t.same(await images.store.list(), []);
  t.same(
    readdirSync(dir).filter((name) => name.startsWith('.new-')),
    [],
  );
});

/** A folder with what mkfs.erofs treats in special ways. */
function specialFolder(): string {
  const dir = folder();
  const block = Buffer.alloc(4096, 'b');
  mkdirSync(join(dir, 'many'));
  for (let i = 0; i < 300; i++)
    writeFileSync(join(dir, 'many', `a-rather-long-file-name-${i}`), `${i}`);
  writeFileSync(join(dir, 'tail'), Buffer.concat([block, Buffer.from('tail')]));
  writeFileSync(join(dir, 'whole'), block);
  writeFileSync(join(dir, 'holes'), Buffer.concat([block, Buffer.alloc(40_960), block, block]));
  writeFileSync(join(dir, 'empty'), '');
  symlinkSync('many/a-rather-long-file-name-7', join(dir, 'link'));
  linkSync(join(dir, 'tail'), join(dir, 'hard'));
  return dir;
}

t.test('images of mkfs.erofs are taken whatever their layout', async (t) => {
  const images = await library();
  const dir = specialFolder();
  const expected = await contents(images, await images.import(dir));
  for (const options of [
    [],
    ['--chunksize=4096'],
    ['-Eforce-inode-compact'],
    ['-Eforce-inode-extended', '--chunksize=8192'],
    ['-Enoinline_data'],
    ['-x1'],
  ]) {
    const path = join(base, `${files++}.erofs`);
    t.equal(spawnSync('mkfs.erofs', ['--quiet', ...options, path, dir]).status, 0);
    t.same(await contents(images, await images.import(path)), expected, options.join(' '));
  }
});

t.test('a damaged or compressed EROFS image is refused with a reason', async (t) => {
  const images = await library();
  const dir = specialFolder();
  const path = join(base, `${files++}.erofs`);
  spawnSync('mkfs.erofs', ['--quiet', path, dir]);
  const bytes = readFileSync(path);
  const changed = (at: number, value: number) => {
    const copy = Buffer.from(bytes);
    copy[at] = value;
    return file(copy);
  };
  await t.rejects(images.import(changed(1024 + 40, 77)), {
    code: 'MAYFLY_IMAGE_DAMAGED',
    message: /checksum of its superblock/,
  });
  const cut = file(bytes);
  truncateSync(cut, 8192);
  await t.rejects(images.import(cut), { code: 'MAYFLY_IMAGE_DAMAGED' });
  const squeezed = join(base, `${files++}.erofs`);
  spawnSync('mkfs.erofs', ['--quiet', '-zlz4hc', squeezed, dir]);
  await t.rejects(images.import(squeezed), { message: /compressed/ });
});

async function imageOf(tree: Tree): Promise<string> {
  const path = join(base, `${files++}.erofs`);
  await writeErofs(tree, path);
  fsckErofs(path);
  return path;
}

t.test('layers: whiteouts and opaque folders hide what is below', async (t) => {
  const lower = await imageOf(
    treeOf([
      fileOf('/a/one', Buffer.from('1')),
      fileOf('/a/two', Buffer.from('2')),
      fileOf('/b/three', Buffer.from('3')),
    ]),
  );
  const whiteout = { ...ATTRIBUTES, type: 'char', major: 0, minor: 0 } as const;
  const upper = await imageOf(
    treeOf([
      { path: '/a/one', ...whiteout },
      { path: '/b', ...ATTRIBUTES, mode: 0o755, type: 'dir', opaque: true },
      fileOf('/b/four', Buffer.from('4')),
      { path: '/link', ...ATTRIBUTES, type: 'symlink', target: 'a/two' },
    ]),
  );
  const root = new ImageRoot([lower, upper]);
  t.notOk(root.find('/a/one'));
  t.equal(root.find('/link')?.readStart(10).toString(), '2');
  t.notOk(root.find('/b/three'));
  t.equal(root.find('/b/four')?.path, '/b/four');
  t.ok(root.find('/'));
  root.close();
});

t.test('what a program name starts in a root', async (t) => {
  const script = (line: string) => Buffer.from(`#!${line}\n`);
  const x = { ...ATTRIBUTES, mode: 0o755 };
  const program = (path: string, bytes: Buffer) => ({ ...fileOf(path, bytes), ...x, path });
  const root = new ImageRoot([
    await imageOf(
      treeOf([
        program('/bin/sh', buildElf({ type: 'dyn' })),
        program('/usr/bin/python3', buildElf({ type: 'dyn' })),
        program('/app/env.py', script('/usr/bin/env python3')),
        program('/app/env-s.py', script('/usr/bin/env -S python3 -u -B')),
        program('/app/plain.sh', script(' /bin/sh -e -x ')),
        program('/app/nested', script('/app/plain.sh')),
        program('/app/circle', script('/app/circle')),
        program('/app/lost', script('/bin/nothing')),
        program('/app/empty', script('')),
        program('/app/text', Buffer.from('just text')),
        program('/app/arm', buildElf({ machine: 183 })),
        program('/app/no-loader', buildElf({ interp: '/lib/ld-nothing.so' })),
        fileOf('/app/data', Buffer.from('data')),
      ]),
    ),
  ]);
  const start = (name: string, ...args: string[]) => findStart(root, name, args, { cwd: '/app' });
  t.same(start('sh', '-c', 'x'), { program: '/bin/sh', argv: ['sh', '-c', 'x'] });
  t.same(start('./env.py', 'a'), {
    program: '/usr/bin/python3',
    argv: ['python3', '/app/env.py', 'a'],
  });
  t.same(start('/app/env-s.py').argv, ['python3', '-u', '-B', '/app/env-s.py']);
  t.same(start('/app/plain.sh', 'a').argv, ['/bin/sh', '-e -x', '/app/plain.sh', 'a']);
  t.same(start('/app/nested').argv, ['/bin/sh', '-e -x', '/app/plain.sh', '/app/nested']);
  for (const [name, code] of [
    ['nothing', 'MAYFLY_PROGRAM_UNKNOWN'],
    ['/app', 'MAYFLY_PROGRAM_UNKNOWN'],
    ['/app/data', 'MAYFLY_PROGRAM_NOT_EXECUTABLE'],
    ['/app/text', 'MAYFLY_ELF_NOT_ELF'],
    ['/app/arm', 'MAYFLY_ELF_WRONG_ARCH'],
    ['/app/no-loader', 'MAYFLY_ELF_NO_INTERPRETER'],
    ['/app/circle', 'MAYFLY_ELF_NO_INTERPRETER'],
    ['/app/lost', 'MAYFLY_ELF_NO_INTERPRETER'],
    ['/app/empty', 'MAYFLY_ELF_NO_INTERPRETER'],
  ]) {
    t.throws(() => start(name!), { code });
  }
  root.close();
});

t.test('names: found, shared layers kept, unnamed ones removed', async (t) => {
  const images = await library();
  const tar = file(await tarOf(LOWER));
  const record = await images.import(tar);
  const [digest] = record.layers as [string];
  await images.setName('base', record, tar);
  await images.setName('same:1', record, tar);
  t.match(await images.find('base'), { layers: [digest], source: tar });
  t.same((await images.find(digest.slice(0, 8))).layers, [digest]);
  t.same((await images.find(tar)).layers, [digest]);
  t.same(
    (await images.listNames()).map(({ name }) => name),
    ['base', 'same:1'],
  );
  await t.rejects(images.removeImage(digest), { code: 'MAYFLY_IMAGE_IN_USE' });
  t.same(await images.removeImage('base'), [], 'another name has the layer');
  t.same(await images.removeImage('same:1'), [digest]);
  await t.rejects(images.find('base'), { code: 'MAYFLY_IMAGE_NO_IMAGE' });
  await t.rejects(images.removeImage('base'), { code: 'MAYFLY_IMAGE_NO_IMAGE' });
  t.same((await images.import(tar)).layers, [digest], 'built again');
  t.same(
    (await images.removeUnnamed()).map((image) => image.digest),
    [digest],
  );
  for (const name of ['', '../x', 'a/b', '-x', 'f'.repeat(64)])
    await t.rejects(images.setName(name, record, tar), { code: 'MAYFLY_IMAGE_BAD_NAME' });
  await t.rejects(images.find('../names/base'), { code: 'MAYFLY_IMAGE_NO_IMAGE' });
  t.notOk(existsSync(join(base, 'x.json')));
});
