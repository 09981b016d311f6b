import { constants, openSync } from 'node:fs';

/** open(2), O_TMPFILE, which Node.js has no name for. */
const O_TMPFILE = 0o20200000;

/** Makes a file without a name on the file system of `directory`: gone with its last descriptor or mapping, also after kill -9. */
export function openUnnamed(directory: string): number {
  return openSync(directory, constants.O_RDWR | O_TMPFILE, 0o600);
}
