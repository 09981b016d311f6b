/** The files of a folder that a deployment brings. */
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import { unreadable } from './output.js';

export const PACKAGES = 'node_modules';

/** What tools leave behind. */
export const LEFT_OUT = new Set(['__pycache__', '.git', '.venv', 'mayfly.json']);

/** The same in a node_modules: commands, and notes of package managers. */
const LEFT_OUT_OF_PACKAGES = new Set(['.bin', '.cache', '.package-lock.json', '.yarn-state.yml']);

/** Where pnpm has what its links lead to. Copies of the links' ends would not find each other. */
const LINKED_PACKAGES = '.pnpm';

export interface LocalFile {
  /** Its bytes, or where they lie: a folder may be larger than memory. */
  content: Uint8Array | { path: string };
  size: number;
  executable: boolean;
}

/** By paths in the folder, '/' between their parts. */
export type LocalFiles = Map<string, LocalFile>;

export interface FolderOptions {
  /** Bring what is in node_modules, too; otherwise it is bundled. */
  packages?: boolean;
}

/**
 * Links are followed.
 *
 * @throws MayflyError MAYFLY_FILE for what cannot be read, links that lead to where they are, packages that are links
 */
export async function filesOf(folder: string, options: FolderOptions = {}): Promise<LocalFiles> {
  const files: LocalFiles = new Map();
  await addFilesBelow(folder, '', files, [await realpath(folder)], options);
  return files;
}

/** `within`: the folder and those around it, without links. */
async function addFilesBelow(
  folder: string,
  path: string,
  files: LocalFiles,
  within: readonly string[],
  options: FolderOptions,
): Promise<void> {
  const entries = await readdir(join(folder, path), { withFileTypes: true }).catch(
    (cause: unknown) => {
      throw unreadable(join(folder, path), cause);
    },
  );
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  const inPackages = /(^|\/)node_modules$/.test(path);
  for (const entry of entries) {
    const { name } = entry;
    const below = path === '' ? name : `${path}/${name}`;
    const at = join(folder, below);
    if (LEFT_OUT.has(name) || (name === PACKAGES && !options.packages)) continue;
    if (inPackages && LEFT_OUT_OF_PACKAGES.has(name)) continue;
    if (inPackages && name === LINKED_PACKAGES) throw linkedPackages(join(folder, path));
    const place = await stat(at).catch((cause: unknown) => {
      const why = entry.isSymbolicLink() ? ': a link to what is not there' : '';
      throw new MayflyError('MAYFLY_FILE', `cannot read ${at}${why}`, { cause });
    });
    if (place.isDirectory()) {
      const real = entry.isSymbolicLink() ? await realpath(at) : join(within[0] ?? '', name);
      if (within.includes(real)) {
        throw new MayflyError('MAYFLY_FILE', `cannot read ${at}: a link to a folder that it is in`);
      }
      await addFilesBelow(folder, below, files, [real, ...within], options);
    } else if (place.isFile()) {
      const executable = (place.mode & 0o111) !== 0;
      files.set(below, { content: { path: at }, size: place.size, executable });
    }
  }
}

function linkedPackages(path: string): MayflyError {
  const advice = 'install them as files, with `nodeLinker: hoisted` in pnpm-workspace.yaml';
  return new MayflyError('MAYFLY_FILE', `the packages in ${path} are links of pnpm: ${advice}`);
}
