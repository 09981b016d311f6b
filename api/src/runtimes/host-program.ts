/** Interpreters come from this host. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { ApiError } from '../errors.js';

/** The absolute path of a program. @throws ApiError MAYFLY_RUNTIME_MISSING */
export function hostProgram(name: string, path: string = process.env.PATH ?? ''): string {
  for (const folder of ['/usr/bin', ...path.split(delimiter)]) {
    const place = join(folder, name);
    if (folder.startsWith('/') && isExecutable(place)) return place;
  }
  throw new ApiError('MAYFLY_RUNTIME_MISSING', `there is no ${name} on this host`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
