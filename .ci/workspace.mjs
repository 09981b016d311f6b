// Where the repository's packages are.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** The folders of the workspace ('.' included), from the list in the lockfile: pnpm keeps it current. */
export function workspaceFolders() {
  const importers = readFileSync(join(ROOT, 'pnpm-lock.yaml'), 'utf8').split(/^packages:$/m)[0];
  return [...importers.matchAll(/^ {2}([\w./-]+):/gm)]
    .map((match) => match[1])
    .filter((folder) => existsSync(join(ROOT, folder, 'package.json')));
}
