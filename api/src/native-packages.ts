/** Which packages of a bundle load native code: their files are not in it, and they fail when they are loaded or called. */
import { readdir, readFile } from 'node:fs/promises';
import { resolve, sep } from 'node:path';

/** What packages find their add-ons with, or build them with. */
const LOADERS = new Set([
  'bindings',
  'node-gyp-build',
  'node-gyp-build-optional-packages',
  'node-pre-gyp',
  '@mapbox/node-pre-gyp',
  'prebuild-install',
]);

/** How packages with an add-on for each platform name it. */
const FOR_LINUX = /linux-x64/;

interface Manifest {
  name?: string;
  gypfile?: boolean;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

/** @param inputs paths of the files in the bundle, relative to the working directory. Sorted names. */
export async function nativePackages(inputs: readonly string[]): Promise<string[]> {
  const folders = new Set(inputs.map(packageFolder).filter((folder) => folder !== undefined));
  const found = await Promise.all([...folders].map(nativeName));
  return [...new Set(found.filter((name) => name !== undefined))].sort();
}

/** node_modules/NAME or node_modules/@SCOPE/NAME, as far inside as there is one. */
function packageFolder(path: string): string | undefined {
  const parts = path.split('/');
  const at = parts.lastIndexOf('node_modules');
  if (at < 0 || at + 2 >= parts.length) return undefined;
  const end = at + (parts[at + 1]?.startsWith('@') ? 3 : 2);
  return resolve(parts.slice(0, end).join(sep));
}

async function nativeName(folder: string): Promise<string | undefined> {
  const manifest = await manifestOf(folder);
  const names = await readdir(folder).catch(() => []);
  const isNative =
    manifest.gypfile === true ||
    names.some((name) => name === 'binding.gyp' || name.endsWith('.node')) ||
    Object.keys(manifest.dependencies ?? {}).some((name) => LOADERS.has(name)) ||
    Object.keys(manifest.optionalDependencies ?? {}).some((name) => FOR_LINUX.test(name));
  return isNative ? (manifest.name ?? folder) : undefined;
}

async function manifestOf(folder: string): Promise<Manifest> {
  try {
    return JSON.parse(await readFile(resolve(folder, 'package.json'), 'utf8')) as Manifest;
  } catch {
    return {}; // Folders below node_modules need none.
  }
}
