/** A deployment of files as the archive that a server takes, made while it is sent: a folder may be larger than memory. */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type Readable, Transform } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { constants, createGzip } from 'node:zlib';
import { MayflyError } from '@mayfly/protocol';
import type { FunctionSettings } from '@mayfly/protocol/api';
import { type Pack, pack } from 'tar-stream';
import type { LocalFile, LocalFiles } from './folder-files.js';
import { unreadable } from './output.js';

/** Files of packages are many and small: read in one go, they cost less than a stream of each. */
const SMALL_BYTES = 256 * 1024;

/**
 * A tar archive behind gzip, with the settings as its mayfly.json. What cannot be read ends it with MAYFLY_FILE.
 *
 * @param onBytes told of the archive's bytes as they are taken
 */
export function archiveOf(
  settings: FunctionSettings,
  files: LocalFiles,
  onBytes: (bytes: number) => void,
): Readable {
  const archive = pack();
  const counter = new Transform({
    transform(bytes: Uint8Array, _encoding, done) {
      onBytes(bytes.byteLength);
      done(null, bytes);
    },
  });
  const sent = pipeline(archive, createGzip({ level: constants.Z_BEST_SPEED }), counter);
  sent.catch(() => {}); // who reads the archive is told
  addAll(archive, settings, files).catch((error: Error) => archive.destroy(error));
  return counter;
}

async function addAll(archive: Pack, settings: FunctionSettings, files: LocalFiles): Promise<void> {
  archive.entry({ name: 'mayfly.json' }, JSON.stringify(settings));
  for (const [name, file] of files) await add(archive, name, file);
  archive.finalize();
}

/** One after the other, each as fast as the archive is taken. */
async function add(
  archive: Pack,
  name: string,
  { content, size, executable }: LocalFile,
): Promise<void> {
  const header = { name, size, mode: executable ? 0o755 : 0o644 };
  if (content instanceof Uint8Array) {
    archive.entry(header, Buffer.from(content));
    return;
  }
  if (size > SMALL_BYTES) return pipeline(bytesOf(content.path, size), archive.entry(header));
  const bytes = await bytesOfSmall(content.path, size);
  await finished(archive.entry(header).end(bytes));
}

/** As long as the file was when it was found. */
async function bytesOfSmall(path: string, size: number): Promise<Uint8Array> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  if (bytes.byteLength < size) throw shorter(path);
  return bytes.subarray(0, size);
}

/** As long as the file was when it was found, if it grows meanwhile. */
async function* bytesOf(path: string, size: number): AsyncGenerator<Uint8Array> {
  let read = 0;
  try {
    if (size === 0) return;
    for await (const bytes of createReadStream(path, { end: size - 1 })) {
      read += (bytes as Uint8Array).byteLength;
      yield bytes as Uint8Array;
    }
  } catch (cause) {
    throw unreadable(path, cause);
  }
  if (read < size) throw shorter(path);
}

function shorter(path: string): MayflyError {
  return new MayflyError('MAYFLY_FILE', `${path} got shorter while it was read`);
}
