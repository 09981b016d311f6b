/** Where the output of a guest goes: straight to the streams of this process, or into a JSON document. */
import { MayflyError } from '@mayfly/protocol';

/** Output that a JSON document takes of each stream. */
const CAPTURED_BYTES_MAX = 64 * 1024 * 1024;

export interface GuestOutput {
  stdout(chunk: Uint8Array): void;
  stderr(chunk: Uint8Array): void;
  /** A promise while a receiver is slow. */
  outputReady(): Promise<unknown> | undefined;
  /** Aborted when nobody takes the output any more. */
  signal: AbortSignal;
}

type Stream = NodeJS.WritableStream & { writableNeedDrain?: boolean };

/**
 * Passes output on as it comes. The guest waits while a receiver does not read; when one is gone, the run ends with
 * MAYFLY_OUTPUT_CLOSED.
 */
export function streamedOutput(stdout: Stream, stderr: Stream): GuestOutput {
  const abort = new AbortController();
  let closed: () => void = () => {};
  const gone = new Promise<void>((resolve) => {
    closed = resolve;
  });
  for (const stream of [stdout, stderr]) {
    stream.on('error', (cause: Error) => {
      const message = `the output of the program cannot be written: ${cause.message}`;
      abort.abort(new MayflyError('MAYFLY_OUTPUT_CLOSED', message, { cause }));
      closed();
    });
  }
  return {
    stdout: (chunk) => void stdout.write(chunk),
    stderr: (chunk) => void stderr.write(chunk),
    outputReady() {
      const full = [stdout, stderr].filter((stream) => stream.writableNeedDrain === true);
      if (full.length === 0) return undefined;
      return Promise.race([gone, Promise.all(full.map(drained))]);
    },
    signal: abort.signal,
  };
}

function drained(stream: Stream): Promise<void> {
  return new Promise((resolve) => stream.once('drain', () => resolve()));
}

/** Bytes as JSON has them: text where they are UTF-8, otherwise base64. */
export interface EncodedOutput {
  text: string;
  encoding: 'utf8' | 'base64';
}

export interface CapturedOutput extends GuestOutput {
  captured(): { stdout: EncodedOutput; stderr: EncodedOutput };
}

/** Keeps output in memory; the run ends with MAYFLY_OUTPUT_TOO_LARGE when there is too much of it. */
export function capturedOutput(bytesMax = CAPTURED_BYTES_MAX): CapturedOutput {
  const abort = new AbortController();
  const chunks = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  const sizes = { stdout: 0, stderr: 0 };
  const keep = (stream: 'stdout' | 'stderr') => (chunk: Uint8Array) => {
    sizes[stream] += chunk.length;
    if (sizes[stream] <= bytesMax) return void chunks[stream].push(chunk);
    const message = `more than ${bytesMax} bytes of ${stream} do not fit into JSON`;
    abort.abort(new MayflyError('MAYFLY_OUTPUT_TOO_LARGE', message));
  };
  return {
    stdout: keep('stdout'),
    stderr: keep('stderr'),
    outputReady: () => undefined,
    signal: abort.signal,
    captured: () => ({ stdout: encode(chunks.stdout), stderr: encode(chunks.stderr) }),
  };
}

function encode(chunks: Uint8Array[]): EncodedOutput {
  const bytes = Buffer.concat(chunks);
  const text = bytes.toString();
  return Buffer.from(text).equals(bytes)
    ? { text, encoding: 'utf8' }
    : { text: bytes.toString('base64'), encoding: 'base64' };
}
