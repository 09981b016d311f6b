import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { MayflyError } from '@mayfly/protocol';
import { Decompress } from 'fzstd';

export type Chunks = AsyncIterable<Uint8Array>;

const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/** The bytes behind gzip or zstd, or as they are: the first four tell, whatever a media type says. */
export async function* decompress(chunks: Chunks): AsyncGenerator<Uint8Array> {
  const input = chunks[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let size = 0;
  while (size < ZSTD.length) {
    const { value, done } = await input.next();
    if (done === true) break;
    first.push(value);
    size += value.length;
  }
  const start = Buffer.concat(first);
  const all = rest(start, input);
  if (start.subarray(0, 2).equals(GZIP)) yield* gunzip(all);
  else if (start.subarray(0, 4).equals(ZSTD)) yield* unzstd(all);
  else yield* all;
}

async function* rest(start: Uint8Array, input: AsyncIterator<Uint8Array>) {
  try {
    yield start;
    for (;;) {
      const { value, done } = await input.next();
      if (done === true) return;
      yield value;
    }
  } finally {
    await input.return?.();
  }
}

async function* gunzip(chunks: Chunks): AsyncGenerator<Uint8Array> {
  const input = Readable.from(chunks);
  const output = createGunzip();
  input.on('error', (error) => output.destroy(error));
  try {
    yield* input.pipe(output);
  } finally {
    input.destroy();
  }
}

async function* unzstd(chunks: Chunks): AsyncGenerator<Uint8Array> {
  let ready: Uint8Array[] = [];
  let ended = false;
  const stream = new Decompress((chunk, final) => {
    ready.push(chunk);
    ended ||= final === true;
  });
  for await (const chunk of chunks) {
    stream.push(chunk);
    yield* ready;
    ready = [];
  }
  stream.push(new Uint8Array(), true);
  yield* ready;
  if (!ended) throw new Error('the zstd data ends too early');
}

/** Says of any error below what it means for an archive. */
export function archiveError(name: string, cause: unknown): unknown {
  if (cause instanceof MayflyError) return cause;
  const { code, syscall, message } = cause as NodeJS.ErrnoException;
  if (syscall !== undefined && code !== undefined) {
    return new MayflyError('MAYFLY_IMAGE_UNREADABLE', `${name} cannot be read: ${message}`, {
      cause,
    });
  }
  return new MayflyError('MAYFLY_IMAGE_ARCHIVE_DAMAGED', `${name} is damaged: ${message}`, {
    cause,
  });
}
