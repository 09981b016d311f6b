/** What `mayfly deploy` sends: one file, or a folder with a mayfly.json. */
import { open, readFile, stat } from 'node:fs/promises';
import { basename, extname, join, posix } from 'node:path';
import type { Bundle } from '@mayfly/api/bundle';
import { MayflyError } from '@mayfly/protocol';
import type { FunctionManifest, FunctionSettings, Runtime } from '@mayfly/protocol/api';
import { FILES_BYTES_MAX, FILES_MAX } from '@mayfly/protocol/limits';
import { filesOf, LEFT_OUT, type LocalFiles, PACKAGES } from './folder-files.js';
import { unreadable } from './output.js';
import { formatSize } from './units.js';

const MANIFEST = 'mayfly.json';
/** Where compilers write. */
const BUILT = 'dist';
const ENTRIES = ['index.ts', 'index.js', 'index.mjs', 'index.cjs'];

const RUNTIMES: Record<string, Runtime> = {
  '.js': 'node',
  '.mjs': 'node',
  '.cjs': 'node',
  '.jsx': 'node',
  '.ts': 'node',
  '.mts': 'node',
  '.cts': 'node',
  '.tsx': 'node',
  '.py': 'python',
  '.wasm': 'wasm',
};

const ELF = Buffer.from('\x7fELF', 'latin1');

/** Told what does not keep a deployment from being made. */
export type Warn = (warning: string) => void;

/** One source file, or files; and how they run. */
export interface LocalDeployment {
  settings: FunctionSettings;
  code: { source: string } | { files: LocalFiles };
  /** Bytes of the code. */
  size: number;
  /** Files that were bundled, those of packages left out. */
  sources?: string[];
}

/**
 * Finds and bundles what lies at `path`.
 *
 * @throws MayflyError MAYFLY_FILE, MAYFLY_MANIFEST; ApiError MAYFLY_SOURCE_INVALID with the place in the source
 */
export async function readDeployment(path: string, warn: Warn): Promise<LocalDeployment> {
  if (!(await isFolder(path))) return ofFile(path, warn);
  const { bundle = true, ...manifest } = await readManifest(join(path, MANIFEST));
  const { entry, runtime = 'node', ...rest } = manifest;
  if (!bundle && runtime !== 'http') {
    throw invalid(join(path, MANIFEST), 'bundle can be false for "runtime": "http" only');
  }
  if (runtime === 'node') {
    const bundle = await bundled(join(path, entry ?? (await defaultEntry(path))), warn);
    return ofBundle(rest, bundle);
  }
  const files = await filesOf(path, { packages: !bundle });
  checkAmount(path, files);
  const bundledServer =
    runtime === 'http' && bundle ? await bundleServer(path, manifest, files, warn) : undefined;
  return { settings: manifest, code: { files }, ...bundledServer, size: sizeOf(files) };
}

/** Names of folders that bring nothing to a deployment of `folder`, by its mayfly.json as far as that can be read. */
export async function foldersLeftOut(folder: string): Promise<string[]> {
  const manifest: FunctionManifest = await readManifest(join(folder, MANIFEST)).catch(() => ({}));
  const { runtime = 'node', bundle = true, entry = '' } = manifest;
  const isBuilt = runtime === 'node' && !entry.split('/').includes(BUILT);
  return [...LEFT_OUT, ...(bundle ? [PACKAGES] : []), ...(isBuilt ? [BUILT] : [])].filter(
    (name) => name !== MANIFEST,
  );
}

function sizeOf(files: LocalFiles): number {
  return [...files.values()].reduce((sum, { size }) => sum + size, 0);
}

/** The server would refuse it, after all of it was sent. */
function checkAmount(path: string, files: LocalFiles): void {
  const bytes = sizeOf(files);
  if (files.size <= FILES_MAX && bytes <= FILES_BYTES_MAX) return;
  const there = `${path} has ${files.size} files of ${formatSize(bytes)}`;
  const message = `${there}; a function may bring ${FILES_MAX} of ${formatSize(FILES_BYTES_MAX)} together`;
  throw new MayflyError('MAYFLY_ARCHIVE_TOO_LARGE', message);
}

async function ofFile(path: string, warn: Warn): Promise<LocalDeployment> {
  const runtime = await runtimeOf(path);
  if (runtime === 'node') return ofBundle({}, await bundled(path, warn));
  const { size } = await stat(path);
  const file = { content: { path }, size, executable: runtime === 'native' };
  return { settings: { runtime }, code: { files: new Map([[basename(path), file]]) }, size };
}

/** What the name of a file says, or else how it starts. */
async function runtimeOf(path: string): Promise<Runtime> {
  const known = RUNTIMES[extname(path)];
  if (known) return known;
  if ((await startOf(path, ELF.length)).equals(ELF)) return 'native';
  const message = `${path} is no function: deploy a file of JavaScript, TypeScript or Python, a WebAssembly module (.wasm), a program for Linux, or a folder with a ${MANIFEST}`;
  throw new MayflyError('MAYFLY_FILE', message);
}

async function startOf(path: string, length: number): Promise<Buffer> {
  const file = await open(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function ofBundle(settings: FunctionSettings, { module, sources }: Bundle): LocalDeployment {
  return { settings, code: { source: module }, size: Buffer.byteLength(module), sources };
}

/** A server for Node.js becomes one file with all that it imports; its other files stay beside it. */
async function bundleServer(
  folder: string,
  manifest: FunctionSettings,
  files: LocalFiles,
  warn: Warn,
): Promise<Pick<LocalDeployment, 'settings' | 'sources'> | undefined> {
  const { command = [] } = manifest;
  const at = command.findIndex((word) => /\.[cm]?[jt]s$/.test(word));
  const script = posix.normalize(command[at] ?? '');
  if (command[0] !== 'node' || !files.has(script)) return undefined;
  const { bundleProgram } = await import('@mayfly/api/bundle');
  const module = script.replace(/\.\w+$/, '.mjs');
  const bundle = await bundleProgram(join(folder, script));
  bundle.warnings.forEach(warn);
  files.delete(script);
  const content = Buffer.from(bundle.module);
  files.set(module, { content, size: content.byteLength, executable: false });
  return { settings: { ...manifest, command: command.with(at, module) }, sources: bundle.sources };
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/** @throws MayflyError MAYFLY_MANIFEST, naming the field that is wrong */
async function readManifest(path: string): Promise<FunctionManifest> {
  const manifest = parseManifest(path, await manifestText(path));
  const { manifestProblem } = await import('./manifest-problem.js'); // other commands start without it
  const problem = manifestProblem(manifest);
  if (problem) throw invalid(path, problem);
  return manifest as FunctionManifest;
}

async function manifestText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const message = `cannot read ${path}: a folder is deployed with a ${MANIFEST}, {} at least`;
    throw new MayflyError('MAYFLY_MANIFEST', message, { cause });
  }
}

function parseManifest(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalid(path, (cause as Error).message);
  }
}

const invalid = (path: string, why: string) =>
  new MayflyError('MAYFLY_MANIFEST', `${path}: ${why}`);

async function defaultEntry(folder: string): Promise<string> {
  for (const entry of ENTRIES) {
    const found = await stat(join(folder, entry)).catch(() => undefined);
    if (found?.isFile()) return entry;
  }
  throw new MayflyError('MAYFLY_FILE', `there is no ${ENTRIES.join(', ')} in ${folder}`);
}

async function bundled(file: string, warn: Warn): Promise<Bundle> {
  await stat(file).catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  const { bundleFile } = await import('@mayfly/api/bundle');
  const bundle = await bundleFile(file);
  bundle.warnings.forEach(warn);
  return bundle;
}
