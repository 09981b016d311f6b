/** An unnamed file that is gone with its descriptor. */
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface ScratchFile {
  readonly fd: number;
  close(): void;
}

export function createScratchFile(): ScratchFile {
  const directory = mkdtempSync(join(tmpdir(), 'mayfly-kvm-'));
  const fd = openSync(join(directory, 'memory'), 'w+');
  rmSync(directory, { recursive: true });
  return { fd, close: () => closeSync(fd) };
}
