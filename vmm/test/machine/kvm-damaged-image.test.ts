/** Images whose damage no host has seen: the guest kernel answers with an I/O error and goes on. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ErofsReader, type ListedEntry, treeFromFolder, writeErofs } from '@mayfly/image';
import t from 'tap';
import { runInGuest } from './guest.js';

const INODE_SLOT = 32;
const dir = mkdtempSync(join(tmpdir(), 'mayfly-damaged-'));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));

const root = join(dir, 'root');
mkdirSync(join(root, 'bin'), { recursive: true });
mkdirSync(join(root, 'data'));
writeFileSync(join(root, 'bin/busybox'), readFileSync('/usr/bin/busybox'), { mode: 0o755 });
writeFileSync(join(root, 'data/f'), 'content');
const whole = join(dir, 'whole.erofs');
await writeErofs(await treeFromFolder(root), whole);
const bytes = readFileSync(whole);
const reader = new ErofsReader(whole);
const file = reader.stat('/data/f')!;
const folder = reader.stat('/data')!;
reader.close();

async function withDamage(damage: (image: Buffer) => void, ...command: string[]) {
  const image = Buffer.from(bytes);
  damage(image);
  const path = join(dir, 'damaged.erofs');
  writeFileSync(path, image);
  return runInGuest('/bin/busybox', command, { images: [path] });
}

const inodeAt = ({ nid }: ListedEntry) => nid * INODE_SLOT;
/** The third entry of the folder, behind '.' and '..'. */
const entryAt = folder.offset! + 2 * 12;
const cat = ['cat', '/data/f'];

for (const [what, damage] of [
  ['data beyond the image', (b) => b.writeUInt32LE(0xfffffff0, inodeAt(file) + 16)],
  ['a size beyond the image', (b) => b.writeUInt32LE(0xffff, inodeAt(file) + 12)],
  ['an unknown layout', (b) => b.writeUInt16LE(3, inodeAt(file))],
  ['an entry of no inode', (b) => b.fill(0xff, entryAt, entryAt + 8)],
  ['a folder whose names make no sense', (b) => b.writeUInt16LE(4, folder.offset! + 8)],
] as [string, (image: Buffer) => void][]) {
  t.test(`${what}: an I/O error, and the program goes on`, async (t) => {
    t.match(await withDamage(damage, ...cat), { exitCode: 1, stderr: /Input\/output error/ });
  });
}

t.test('without damage the same commands work', async (t) => {
  t.match(await withDamage(() => {}, ...cat), { exitCode: 0, stdout: 'content' });
});
