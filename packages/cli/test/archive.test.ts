/** Folders as the archives that are sent. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { extract } from 'tar-stream';
import { archiveOf } from '../src/archive.js';
import { filesOf } from '../src/folder-files.js';

const folder = mkdtempSync(join(tmpdir(), 'mayfly-archive-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const at = (path: string) => join(folder, path);

const ANY_BYTES = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) >> 3));
const LONG = `${'long/'.repeat(40)}name`;

async function collected(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

async function unpacked(bytes: Uint8Array): Promise<Map<string, { mode: number; bytes: Buffer }>> {
  const archive = extract();
  archive.end(gunzipSync(bytes));
  const files = new Map<string, { mode: number; bytes: Buffer }>();
  for await (const entry of archive) {
    const { name, mode = 0 } = entry.header;
    files.set(name, { mode, bytes: await collected(entry as AsyncIterable<Uint8Array>) });
  }
  return files;
}

t.test('every byte of a folder arrives, with what may be executed', async (t) => {
  mkdirSync(at('long/'.repeat(40)), { recursive: true });
  mkdirSync(at('node_modules'));
  writeFileSync(at('node_modules/left-out'), '');
  writeFileSync(at('mayfly.json'), 'not this one');
  const big = Buffer.alloc(300_000, ANY_BYTES);
  writeFileSync(at('big'), big);
  writeFileSync(at('empty'), '');
  writeFileSync(at('text.py'), 'print("ä")\r\n');
  writeFileSync(at('program'), ANY_BYTES);
  chmodSync(at('program'), 0o755);
  symlinkSync('text.py', at('link.py'));
  writeFileSync(at(LONG), 'x');
  const files = await filesOf(folder);
  files.set('made', { content: Buffer.from('here'), size: 4, executable: false });
  let told = 0;
  const settings = { runtime: 'native', command: ['./program'] } as const;
  const bytes = await collected(
    archiveOf({ ...settings, command: [...settings.command] }, files, (count) => {
      told += count;
    }),
  );
  t.equal(told, bytes.byteLength);
  const found = await unpacked(bytes);
  t.same(
    [...found.keys()],
    ['mayfly.json', 'big', 'empty', 'link.py', LONG, 'program', 'text.py', 'made'],
  );
  t.same(JSON.parse(String(found.get('mayfly.json')?.bytes)), settings);
  t.ok(found.get('big')?.bytes.equals(big));
  t.ok(found.get('program')?.bytes.equals(ANY_BYTES));
  t.equal(found.get('program')?.mode, 0o755);
  t.equal(found.get('text.py')?.mode, 0o644);
  for (const [name, text] of [
    ['empty', ''],
    ['text.py', 'print("ä")\r\n'],
    ['link.py', 'print("ä")\r\n'],
    [LONG, 'x'],
    ['made', 'here'],
  ] as const) {
    t.equal(String(found.get(name)?.bytes), text, name);
  }
});

t.test('a file that changes while it is sent', async (t) => {
  const files = await filesOf(folder);
  const sent = () => collected(archiveOf({}, files, () => {}));
  writeFileSync(at('text.py'), 'x'.repeat(100_000));
  t.equal((await unpacked(await sent())).get('text.py')?.bytes.byteLength, 13, 'as long as it was');
  writeFileSync(at('text.py'), '');
  await t.rejects(sent(), { code: 'MAYFLY_FILE', message: /link\.py got shorter/ });
  rmSync(at('link.py'));
  await t.rejects(sent(), { code: 'MAYFLY_FILE', message: /cannot read .*link\.py/ });
});

t.test('packages are brought as they are, where they are files', async (t) => {
  const server = join(folder, 'server');
  const inServer = (path: string) => join(server, path);
  mkdirSync(inServer('node_modules/a/node_modules/b'), { recursive: true });
  mkdirSync(inServer('node_modules/.bin'));
  mkdirSync(inServer('shared'));
  for (const path of [
    'server.js',
    'shared/index.js',
    'node_modules/a/index.js',
    'node_modules/a/node_modules/b/add-on.node',
    'node_modules/.package-lock.json',
    'node_modules/.bin/tool',
  ]) {
    writeFileSync(inServer(path), '');
  }
  symlinkSync('../shared', inServer('node_modules/shared'));
  t.same([...(await filesOf(server)).keys()], ['server.js', 'shared/index.js']);
  t.same(
    [...(await filesOf(server, { packages: true })).keys()],
    [
      'node_modules/a/index.js',
      'node_modules/a/node_modules/b/add-on.node',
      'node_modules/shared/index.js',
      'server.js',
      'shared/index.js',
    ],
  );
  symlinkSync('../..', inServer('shared/around'));
  const around = {
    code: 'MAYFLY_FILE',
    message: /shared\/around: a link to a folder that it is in/,
  };
  await t.rejects(filesOf(folder), around);
  rmSync(inServer('shared/around'));
  mkdirSync(inServer('node_modules/.pnpm'));
  await t.rejects(filesOf(server, { packages: true }), {
    code: 'MAYFLY_FILE',
    message: /server\/node_modules are links of pnpm: .*hoisted/,
  });
});
