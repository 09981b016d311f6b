/** The files of a folder as a deployment carries them. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import type { FunctionFiles } from '@mayfly/protocol/api';
import { unreadable } from './output.js';

/** What tools leave behind, and what is bundled instead. */
const LEFT_OUT = new Set(['node_modules', '__pycache__', '.git', '.venv', 'mayfly.json']);

/**
 * Links are followed. Text is sent as text, everything else as base64.
 *
 * @throws MayflyError MAYFLY_FILE for what cannot be read
 */
export async function filesOf(folder: string): Promise<FunctionFiles> {
  const files: FunctionFiles = {};
  for (const path of await pathsBelow(folder, '')) {
    const place = join(folder, path);
    const { mode } = await stat(place);
    const bytes = await readFile(place).catch((cause: unknown) => {
      throw unreadable(place, cause);
    });
    files[path] = contentOf(bytes, (mode & 0o111) !== 0);
  }
  return files;
}

async function pathsBelow(folder: string, path: string): Promise<string[]> {
  const found: string[] = [];
  const entries = await readdir(join(folder, path), { withFileTypes: true }).catch(
    (cause: unknown) => {
      throw unreadable(join(folder, path), cause);
    },
  );
  for (const entry of entries) {
    const { name } = entry;
    if (LEFT_OUT.has(name)) continue;
    const below = path === '' ? name : `${path}/${name}`;
    const place = await stat(join(folder, below)).catch((cause: unknown) => {
      const why = entry.isSymbolicLink() ? ': a link to what is not there' : '';
      throw new MayflyError('MAYFLY_FILE', `cannot read ${join(folder, below)}${why}`, { cause });
    });
    if (place.isDirectory()) found.push(...(await pathsBelow(folder, below)));
    else if (place.isFile()) found.push(below);
  }
  return found.sort();
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function contentOf(bytes: Buffer, executable: boolean): FunctionFiles[string] {
  if (!executable) {
    try {
      return utf8.decode(bytes);
    } catch {
      // no text
    }
  }
  return { base64: bytes.toString('base64'), executable };
}
