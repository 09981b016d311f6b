/** Archives as people make them, and as nobody should. */
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { type Header, pack } from 'tar-stream';
import { deploymentFromArchive } from '../src/archive.js';

type Entry = Partial<Header> & { name: string; content?: string | Buffer };

const MANIFEST: Entry = {
  name: 'mayfly.json',
  content: '{"runtime":"python","timeoutMs":5,"bundle":false}',
};

async function tar(...entries: Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content = '', ...header } of entries) archive.entry(header as Header, content);
  archive.finalize();
  const parts: Uint8Array[] = [];
  for await (const part of archive) parts.push(part as Uint8Array);
  return Buffer.concat(parts);
}

t.test('files, folders and links inside become a deployment', async (t) => {
  const bytes = await tar(
    { name: './', type: 'directory' },
    { ...MANIFEST, name: './mayfly.json' },
    { name: './bin/', type: 'directory' },
    { name: './bin/run', content: 'one', mode: 0o755 },
    { name: './lib/deep/a.py', content: 'two', mode: 0o644 },
    { name: './lib/link', type: 'symlink', linkname: '../bin/run' },
    { name: './again', type: 'symlink', linkname: 'lib/link' },
    { name: './hard', type: 'link', linkname: './bin/run' },
    { name: `./${'n'.repeat(150)}/x`, content: 'long' },
  );
  for (const form of [bytes, gzipSync(bytes)]) {
    const { settings, files } = await deploymentFromArchive(form);
    t.same(settings, { runtime: 'python', timeoutMs: 5 });
    const seen = [...files].map(([path, { bytes, executable }]) => [
      path,
      String(bytes),
      executable,
    ]);
    t.same(seen.sort(), [
      ['again', 'one', true],
      ['bin/run', 'one', true],
      ['hard', 'one', true],
      ['lib/deep/a.py', 'two', false],
      ['lib/link', 'one', true],
      [`${'n'.repeat(150)}/x`, 'long', false],
    ]);
  }
});

t.test('what a function may not bring is refused by name', async (t) => {
  const refused = async (message: RegExp, ...entries: Entry[]) => {
    const code = /unpacks/.test(message.source)
      ? 'MAYFLY_ARCHIVE_TOO_LARGE'
      : 'MAYFLY_ARCHIVE_INVALID';
    await t.rejects(
      deploymentFromArchive(await tar(...entries)),
      { code, message },
      message.source,
    );
  };
  const file = { name: 'main.py', content: 'x' };
  await refused(/no mayfly\.json/, file);
  await refused(/nothing but/, MANIFEST);
  await refused(/not JSON/, file, { name: 'mayfly.json', content: '{' });
  await refused(/timeoutMs must be integer/, file, {
    name: 'mayfly.json',
    content: '{"timeoutMs":"1"}',
  });
  await refused(/"speed" is no field/, file, { name: 'mayfly.json', content: '{"speed":1}' });
  await refused(/the manifest must be object/, file, { name: 'mayfly.json', content: '[]' });
  await refused(/"\/etc\/passwd" leads out/, MANIFEST, { name: '/etc/passwd', content: 'x' });
  await refused(/"\.\.\/x" leads out/, MANIFEST, { name: '../x', content: 'x' });
  await refused(/"a\/\.\.\/\.\.\/x" leads out/, MANIFEST, { name: 'a/../../x', content: 'x' });
  await refused(/leads out/, MANIFEST, { name: '..', type: 'directory' });
  const link = (linkname: string, name = 'l'): Entry => ({ name, type: 'symlink', linkname });
  await refused(/link "l" leads out .* "\/etc\/passwd"/, MANIFEST, file, link('/etc/passwd'));
  await refused(/link "l" leads out/, MANIFEST, file, link('../main.py'));
  await refused(/link "a\/l" leads out/, MANIFEST, file, link('../../main.py', 'a/l'));
  await refused(/leads to no file/, MANIFEST, file, link('gone'));
  await refused(/leads to no file/, MANIFEST, file, link('l'));
  await refused(/leads to no file/, MANIFEST, file, link('m'), link('l', 'm'));
  await refused(/leads out/, MANIFEST, file, { name: 'h', type: 'link', linkname: '../h' });
  await refused(/is a character-device/, MANIFEST, { name: 'null', type: 'character-device' });
  await refused(/is a fifo/, MANIFEST, { name: 'f', type: 'fifo' });
  await refused(/"main\.py" is a file and a folder/, MANIFEST, file, {
    name: 'main.py/x',
    content: 'x',
  });
  const many = Array.from({ length: 10_000 }, (_, i) => ({ name: `f${i}`, content: '' }));
  await refused(/unpacks to more than 10000 files/, MANIFEST, ...many);
});

t.test('a bomb is not unpacked', async (t) => {
  const zeros = Buffer.alloc(32 * 1024 * 1024);
  const entries = Array.from({ length: 9 }, (_, i) => ({ name: `z${i}`, content: zeros }));
  const bomb = gzipSync(await tar(MANIFEST, ...entries));
  t.ok(bomb.length < 2 * 1024 * 1024);
  await t.rejects(deploymentFromArchive(bomb), { code: 'MAYFLY_ARCHIVE_TOO_LARGE' });
});

t.test('damaged archives', async (t) => {
  const whole = await tar(MANIFEST, { name: 'main.py', content: 'x'.repeat(2000) });
  const damaged = { code: 'MAYFLY_ARCHIVE_INVALID' };
  const zipped = gzipSync(whole);
  const flipped = Buffer.from(whole);
  flipped[3]! ^= 0xff; // The name of the first entry: the checksum of its header is wrong.
  const cases = {
    empty: Buffer.alloc(0),
    text: Buffer.from('hello'),
    random: Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919) % 251)),
    cut: whole.subarray(0, 1800),
    flipped,
    'cut gzip': zipped.subarray(0, zipped.length - 20),
    'damaged gzip': Buffer.concat([zipped.subarray(0, 30), Buffer.alloc(50, 0xaa)]),
    'cut zstd': Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 1]),
  };
  for (const [what, bytes] of Object.entries(cases)) {
    await t.rejects(deploymentFromArchive(bytes), damaged, what);
  }
});
