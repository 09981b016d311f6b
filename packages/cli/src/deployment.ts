/** What `mayfly deploy` sends: one source file, or a folder with a mayfly.json. */
import { readFile, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import type { FunctionFiles, FunctionManifest, FunctionSource } from '@mayfly/protocol/api';
import { filesOf } from './folder-files.js';
import { unreadable } from './output.js';

const MANIFEST = 'mayfly.json';
const ENTRIES = ['index.ts', 'index.js', 'index.mjs', 'index.cjs'];

/** Told what does not keep a deployment from being made. */
export type Warn = (warning: string) => void;

/**
 * Reads and bundles what lies at `path`.
 *
 * @throws MayflyError MAYFLY_FILE, MAYFLY_MANIFEST; ApiError MAYFLY_SOURCE_INVALID with the place in the source
 */
export async function readDeployment(path: string, warn: Warn): Promise<FunctionSource> {
  if (!(await isFolder(path))) return { source: await bundled(path, warn) };
  const manifest = await readManifest(join(path, MANIFEST));
  const { entry, runtime = 'node', ...rest } = manifest;
  if (runtime === 'node') {
    const source = await bundled(join(path, entry ?? (await defaultEntry(path))), warn);
    return { ...rest, source };
  }
  const deployment = { ...manifest, files: await filesOf(path) };
  return runtime === 'http' ? bundledServer(path, deployment, warn) : deployment;
}

/** A server for Node.js becomes one file with all that it imports; its other files stay beside it. */
async function bundledServer(
  folder: string,
  deployment: FunctionSource & { files: FunctionFiles },
  warn: Warn,
): Promise<FunctionSource> {
  const { command = [], files } = deployment;
  const at = command.findIndex((word) => /\.[cm]?[jt]s$/.test(word));
  const script = posix.normalize(command[at] ?? '');
  if (command[0] !== 'node' || files[script] === undefined) return deployment;
  const { bundleProgram } = await import('@mayfly/api/bundle');
  const module = script.replace(/\.\w+$/, '.mjs');
  const bundle = await bundleProgram(join(folder, script));
  bundle.warnings.forEach(warn);
  const { [script]: _, ...others } = files;
  return {
    ...deployment,
    command: command.with(at, module),
    files: { ...others, [module]: bundle.module },
  };
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

async function bundled(file: string, warn: Warn): Promise<string> {
  await stat(file).catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  const { bundleFile } = await import('@mayfly/api/bundle');
  const { module, warnings } = await bundleFile(file);
  warnings.forEach(warn);
  return module;
}
