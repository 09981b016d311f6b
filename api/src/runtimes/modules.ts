/** Native modules among a function's files, as packages of Python and Node.js have them: what they need of this host. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Extra } from '@mayfly/image';
import { GUEST_PATHS } from '../layers.js';
import type { Source } from './runtime.js';

const SHARED_OBJECT = /\.(node|so(\.\d+)*)$/;
const ELF = Buffer.from('\x7fELF', 'latin1');

/**
 * Calls `use` with what brings the libraries that the modules need and do not bring along: libstdc++, for one, which wheels
 * take from the system. They are found as they will be in the guest, so the modules lie where they do there.
 */
export async function withModules<T>(
  files: Source['files'],
  use: (extra: Extra[]) => Promise<T>,
): Promise<T> {
  const modules = [...files].filter(
    ([path, { bytes }]) => SHARED_OBJECT.test(path) && ELF.equals(bytes.subarray(0, ELF.length)),
  );
  if (modules.length === 0) return use([]);
  const folder = await mkdtemp(join(tmpdir(), 'mayfly-modules-'));
  try {
    for (const [path, { bytes }] of modules) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), bytes);
    }
    return await use([{ guestPath: GUEST_PATHS.function, hostPath: folder, libraries: true }]);
  } finally {
    await rm(folder, { recursive: true });
  }
}
