/** The files of a folder that a deployment brings. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import { unreadable } from './output.js';

/** What tools leave behind, and what is bundled instead. */
const LEFT_OUT = new Set(['node_modules', '__pycache__', '.git', '.venv', 'mayfly.json']);

export interface LocalFile {
  /** Its bytes, or where they lie: a folder may be larger than memory. */
  content: Uint8Array | { path: string };
  size: number;
  executable: boolean;
}

/** By paths in the folder, '/' between their parts. */
export type LocalFiles = Map<string, LocalFile>;

/**
 * Links are followed.
 *
 * @throws MayflyError MAYFLY_FILE for what cannot be read
 */
export async function filesOf(folder: string): Promise<LocalFiles> {
  const files: LocalFiles = new Map();
  await addFilesBelow(folder, '', files);
  return files;
}

async function addFilesBelow(folder: string, path: string, files: LocalFiles): Promise<void> {
  const entries = await readdir(join(folder, path), { withFileTypes: true }).catch(
    (cause: unknown) => {
      throw unreadable(join(folder, path), cause);
    },
  );
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const { name } = entry;
    if (LEFT_OUT.has(name)) continue;
    const below = path === '' ? name : `${path}/${name}`;
    const at = join(folder, below);
    const place = await stat(at).catch((cause: unknown) => {
      const why = entry.isSymbolicLink() ? ': a link to what is not there' : '';
      throw new MayflyError('MAYFLY_FILE', `cannot read ${at}${why}`, { cause });
    });
    if (place.isDirectory()) await addFilesBelow(folder, below, files);
    else if (place.isFile()) {
      const executable = (place.mode & 0o111) !== 0;
      files.set(below, { content: { path: at }, size: place.size, executable });
    }
  }
}
