/**
 * The frame: what crosses between host and guest, in both directions, on one stream.
 *
 *   ┌────────────┬────────────┬───────────────┬──────────────┐
 *   │ total  u32 │ head   u32 │ head          │ body         │
 *   │ LE         │ LE         │ UTF-8 JSON    │ raw bytes    │
 *   └────────────┴────────────┴───────────────┴──────────────┘
 *                └──────────────── total ───────────────────┘
 *
 * Encoder and decoder stand side by side so that they cannot drift. The peer is hostile: every length is checked before
 * it is used, a decoder that has refused once stays refused, and nothing is allocated beyond the limits.
 */
import { MayflyError } from './errors.js';

/** One frame, decoded. `head` is a JSON object whose shape the caller still has to check. */
export interface Frame {
  head: Record<string, unknown>;
  body: Uint8Array;
}

/** Upper bounds, in bytes, that both directions obey. */
export interface FrameLimits {
  headBytesMax: number;
  bodyBytesMax: number;
}

/**
 * Heads carry URLs, headers (Node refuses more than 16 KiB of them), log lines (64 KiB) and a stack trace; JSON can
 * write one byte as six (\u0001), hence half a MiB. The body of one frame is buffered whole on both sides; larger bodies
 * travel in chunks (see messages.ts).
 */
export const FRAME_LIMITS: Readonly<FrameLimits> = Object.freeze({
  headBytesMax: 512 * 1024,
  bodyBytesMax: 16 * 1024 * 1024,
});

/** How much of a body that goes on in chunks one frame should carry: large enough for few frames, small enough to flow. */
export const CHUNK_BYTES = 64 * 1024;

const TOTAL_BYTES = 4;
const HEAD_LENGTH_BYTES = 4;
const PREFIX_BYTES = TOTAL_BYTES + HEAD_LENGTH_BYTES;
const NO_BODY = new Uint8Array(0);

/**
 * One frame as one buffer, ready for a single write.
 *
 * @param head any JSON object
 * @throws MayflyError MAYFLY_FRAME_TOO_LARGE when head or body is beyond the limits
 */
export function encodeFrame(
  head: object,
  body: Uint8Array = NO_BODY,
  limits: FrameLimits = FRAME_LIMITS,
): Uint8Array {
  const json = JSON.stringify(head);
  const headBytes = Buffer.byteLength(json);
  checkLengths(headBytes, body.byteLength, limits);
  // Not part of a larger buffer: a message to another thread would copy all of that.
  const frame = Buffer.allocUnsafeSlow(PREFIX_BYTES + headBytes + body.byteLength);
  frame.writeUInt32LE(HEAD_LENGTH_BYTES + headBytes + body.byteLength, 0);
  frame.writeUInt32LE(headBytes, TOTAL_BYTES);
  frame.write(json, PREFIX_BYTES, 'utf8');
  frame.set(body, PREFIX_BYTES + headBytes);
  return frame;
}

/**
 * The same bytes as encodeFrame, written into memory that is there already: the fewest allocations and calls, for the
 * guest, where each of them touches pages that must be put back.
 *
 * @returns how many bytes of `target` the frame has; 0 if it might not fit, and then `target` holds nothing useful
 */
export function encodeFrameInto(target: Buffer, head: object, body: Uint8Array = NO_BODY): number {
  const json = JSON.stringify(head);
  // One UTF-16 unit is at most three bytes of UTF-8.
  const bytesMax = PREFIX_BYTES + 3 * json.length + body.byteLength;
  if (bytesMax > target.byteLength) return 0;
  const headBytes = target.write(json, PREFIX_BYTES, 'utf8');
  target.writeUInt32LE(HEAD_LENGTH_BYTES + headBytes + body.byteLength, 0);
  target.writeUInt32LE(headBytes, TOTAL_BYTES);
  if (body.byteLength > 0) target.set(body, PREFIX_BYTES + headBytes);
  return PREFIX_BYTES + headBytes + body.byteLength;
}

/**
 * The frame that `bytes` are, exactly; undefined if they are anything else. For the guest, which trusts its host: a
 * head that is no JSON object is not looked for. The body is a copy.
 */
export function decodeWholeFrame(bytes: Buffer): Frame | undefined {
  if (bytes.byteLength < PREFIX_BYTES) return undefined;
  const headEnd = PREFIX_BYTES + bytes.readUInt32LE(TOTAL_BYTES);
  const end = TOTAL_BYTES + bytes.readUInt32LE(0);
  if (end !== bytes.byteLength || headEnd > end) return undefined;
  const head = JSON.parse(bytes.toString('utf8', PREFIX_BYTES, headEnd));
  const body = headEnd === end ? NO_BODY : new Uint8Array(bytes.subarray(headEnd));
  return { head, body };
}

/**
 * Takes a stream in pieces of any size and gives whole frames.
 *
 *   decoder.push(chunk);
 *   for (let frame = decoder.next(); frame; frame = decoder.next()) ...
 *
 * Bytes are copied, so the caller may reuse its chunk at once.
 */
export class FrameDecoder {
  readonly #limits: FrameLimits;
  readonly #prefix = Buffer.allocUnsafe(PREFIX_BYTES);
  readonly #ready: Frame[] = [];
  #prefixFilled = 0;
  #headBytes = 0;
  /** What follows the prefix, of the frame under way; undefined while the prefix itself is incomplete. */
  #payload: Buffer | undefined;
  #payloadFilled = 0;
  #refusal: MayflyError | undefined;

  constructor(limits: FrameLimits = FRAME_LIMITS) {
    this.#limits = limits;
  }

  /**
   * Takes the next bytes of the stream.
   *
   * @throws MayflyError MAYFLY_FRAME_TOO_LARGE or MAYFLY_FRAME_DAMAGED; every later call throws the same error, for
   * there is no way to find the next frame in a damaged stream
   */
  push(chunk: Uint8Array): void {
    if (this.#refusal) throw this.#refusal;
    try {
      let offset = 0;
      while (offset < chunk.byteLength) offset = this.#take(chunk, offset);
    } catch (error) {
      if (error instanceof MayflyError) this.#refusal = error;
      throw error;
    }
  }

  /** The oldest whole frame that was not taken yet, or undefined. */
  next(): Frame | undefined {
    return this.#ready.shift();
  }

  /** True between frames: the place where a stream may end. */
  get idle(): boolean {
    return this.#prefixFilled === 0 && this.#ready.length === 0;
  }

  /** Consumes bytes of one part (prefix or payload) of one frame and gives the new offset. */
  #take(chunk: Uint8Array, offset: number): number {
    if (!this.#payload) {
      const taken = copyInto(this.#prefix, this.#prefixFilled, chunk, offset);
      this.#prefixFilled += taken;
      if (this.#prefixFilled === PREFIX_BYTES) this.#openPayload();
      return offset + taken;
    }
    const taken = copyInto(this.#payload, this.#payloadFilled, chunk, offset);
    this.#payloadFilled += taken;
    if (this.#payloadFilled === this.#payload.byteLength) this.#closePayload(this.#payload);
    return offset + taken;
  }

  #openPayload(): void {
    const total = this.#prefix.readUInt32LE(0);
    const headBytes = this.#prefix.readUInt32LE(TOTAL_BYTES);
    if (total < HEAD_LENGTH_BYTES || headBytes > total - HEAD_LENGTH_BYTES) {
      throw new MayflyError(
        'MAYFLY_FRAME_DAMAGED',
        `the frame says that it has ${total} bytes with a head of ${headBytes}`,
      );
    }
    // The smallest JSON object is {}. With no payload at all, nothing would ever close the frame.
    if (headBytes < 2) {
      throw new MayflyError(
        'MAYFLY_FRAME_DAMAGED',
        `a head of ${headBytes} bytes is no JSON object`,
      );
    }
    checkLengths(headBytes, total - HEAD_LENGTH_BYTES - headBytes, this.#limits);
    this.#headBytes = headBytes;
    this.#payload = Buffer.allocUnsafeSlow(total - HEAD_LENGTH_BYTES);
    this.#payloadFilled = 0;
  }

  #closePayload(payload: Buffer): void {
    const head = parseHead(payload.subarray(0, this.#headBytes));
    const body = payload.subarray(this.#headBytes);
    this.#payload = undefined;
    this.#prefixFilled = 0;
    this.#ready.push({ head, body });
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function parseHead(bytes: Uint8Array): Record<string, unknown> {
  let head: unknown;
  try {
    head = JSON.parse(utf8.decode(bytes));
  } catch (cause) {
    throw new MayflyError('MAYFLY_FRAME_DAMAGED', 'the head of the frame is not UTF-8 JSON', {
      cause,
    });
  }
  if (typeof head !== 'object' || head === null || Array.isArray(head)) {
    throw new MayflyError('MAYFLY_FRAME_DAMAGED', 'the head of the frame is not a JSON object');
  }
  return head as Record<string, unknown>;
}

function checkLengths(headBytes: number, bodyBytes: number, limits: FrameLimits): void {
  if (headBytes > limits.headBytesMax) {
    throw new MayflyError(
      'MAYFLY_FRAME_TOO_LARGE',
      `the head of the frame has ${headBytes} bytes, the limit is ${limits.headBytesMax}`,
    );
  }
  if (bodyBytes > limits.bodyBytesMax) {
    throw new MayflyError(
      'MAYFLY_FRAME_TOO_LARGE',
      `the body of the frame has ${bodyBytes} bytes, the limit is ${limits.bodyBytesMax}`,
    );
  }
}

function copyInto(target: Buffer, filled: number, chunk: Uint8Array, offset: number): number {
  const taken = Math.min(target.byteLength - filled, chunk.byteLength - offset);
  target.set(chunk.subarray(offset, offset + taken), filled);
  return taken;
}
