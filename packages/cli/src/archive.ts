/** A deployment of files as the archive that a server takes, made while it is sent: a folder may be larger than memory. */
import { createReadStream } from 'node:fs';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGzip } from 'node:zlib';
import { MayflyError } from '@mayfly/protocol';
import type { FunctionSettings } from '@mayfly/protocol/api';
import { type Pack, pack } from 'tar-stream';
import type { LocalFile, LocalFiles } from './folder-files.js';
import { unreadable } from './output.js';

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
  await pipeline(bytesOf(content.path, size), archive.entry(header));
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
  if (read < size) throw new MayflyError('MAYFLY_FILE', `${path} got shorter while it was read`);
}
