import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { MayflyError } from '@mayfly/protocol';

/**
 * The absolute path of a program of this host, as execvp(3) looks for it: a name is looked up in the folders of `path`.
 * Throws MAYFLY_PROGRAM_UNKNOWN, MAYFLY_PROGRAM_NOT_EXECUTABLE.
 */
export function findHostProgram(name: string, path: string): string {
  const candidates = name.includes('/')
    ? [resolve(name)]
    : path.split(':').map((dir) => resolve(dir, name));
  const files = candidates.filter(isFile);
  const executable = files.find(isExecutable);
  if (executable !== undefined) return executable;
  const [blocked] = files;
  if (blocked !== undefined) {
    throw new MayflyError('MAYFLY_PROGRAM_NOT_EXECUTABLE', `${blocked} is not executable`);
  }
  const where = name.includes('/') ? '' : ' in PATH';
  throw new MayflyError('MAYFLY_PROGRAM_UNKNOWN', `there is no program ${name}${where}`);
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
