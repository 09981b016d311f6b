/** From the body of a deployment to its files and settings. */
import type { FunctionFiles, FunctionSettings, FunctionSource } from '@mayfly/protocol/api';
import { ApiError } from './errors.js';
import type { Deployment } from './registry.js';
import type { SourceFile } from './runtimes/runtime.js';

/** What the one file of a `source` is called. */
const ENTRY_DEFAULT: Partial<Record<NonNullable<FunctionSettings['runtime']>, string>> = {
  node: 'index.js',
  python: 'main.py',
};

/** @throws ApiError MAYFLY_SOURCE_INVALID, MAYFLY_REQUEST_INVALID */
export function deploymentOf({ source, files, ...settings }: FunctionSource): Deployment {
  if ((source === undefined) === (files === undefined)) {
    throw new ApiError('MAYFLY_REQUEST_INVALID', 'a deployment has either source or files');
  }
  if (source === undefined) return { settings, files: filesOf(files ?? {}) };
  if (source.trim() === '') throw new ApiError('MAYFLY_SOURCE_INVALID', 'the source is empty');
  const name = settings.entry ?? ENTRY_DEFAULT[settings.runtime ?? 'node'] ?? 'main';
  return { settings, files: filesOf({ [name]: source }) };
}

function filesOf(files: FunctionFiles): Map<string, SourceFile> {
  const result = new Map<string, SourceFile>();
  for (const [path, content] of Object.entries(files)) {
    checkPath(path);
    result.set(
      path,
      typeof content === 'string'
        ? { bytes: Buffer.from(content), executable: false }
        : { bytes: Buffer.from(content.base64, 'base64'), executable: content.executable ?? false },
    );
  }
  const folder = fileAndFolder(result);
  if (folder !== undefined) throw invalid(`"${folder}" is a file and a folder`);
  return result;
}

/** The first path that is both, if there is one. */
export function fileAndFolder(files: ReadonlyMap<string, unknown>): string | undefined {
  for (const path of files.keys()) {
    for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1)) {
      if (files.has(path.slice(0, end))) return path.slice(0, end);
    }
  }
  return undefined;
}

/** A path that says the same to everybody: relative, and without detours. @throws ApiError MAYFLY_SOURCE_INVALID */
export function checkPath(path: string): void {
  const detour = (part: string) => part === '' || part === '.' || part === '..';
  if (path.length <= 1024 && !path.includes('\0') && !path.split('/').some(detour)) return;
  throw invalid(`${JSON.stringify(path.slice(0, 100))} is no relative path inside the function`);
}

function invalid(message: string): ApiError {
  return new ApiError('MAYFLY_SOURCE_INVALID', message);
}
