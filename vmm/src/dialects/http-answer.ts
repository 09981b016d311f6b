/**
 * An HTTP/1.x answer, read piece by piece (RFC 9112). The server is a guest's and hostile: lines and heads are bounded, every
 * number is checked before it is used, and nothing that is not understood is passed on.
 *
 * ```
 *   line ─► header ↺ ─┬─► sized ──────────────────────────────────────► over
 *     ▲       1xx │   ├─► size ─► chunk ─► chunk-end ─► size ... trailer ─► over
 *     └───────────┘   └─► until the connection ends ──────────────────► over
 * ```
 */
import { MayflyError } from '@mayfly/protocol';

/** Of a head with all its lines, or of the lines between two chunks. */
const HEAD_BYTES_MAX = 64 * 1024;

const STATUS_LINE = /^HTTP\/1\.[01] ([1-5]\d\d)(?: .*)?$/;
const HEADER = /^([!#$%&'*+.^_`|~\dA-Za-z-]+):[ \t]*(.*?)[ \t]*$/;
const CHUNK_SIZE = /^([\da-fA-F]{1,13})[ \t]*(?:;.*)?$/;
const LENGTH = /^\d{1,15}$/;

export interface HttpAnswerEvents {
  head(status: number, headers: [name: string, value: string][]): void;
  /** The piece is the receiver's to keep. */
  body(piece: Uint8Array): void;
  end(): void;
}

type State =
  | 'line'
  | 'header'
  | 'sized'
  | 'raw'
  | 'size'
  | 'chunk'
  | 'chunk-end'
  | 'trailer'
  | 'over';

export class HttpAnswer {
  readonly #method: string;
  readonly #events: HttpAnswerEvents;
  #state: State = 'line';
  /** A line whose end has not come yet. */
  #line = '';
  #headBytes = 0;
  #status = 0;
  #headers: [name: string, value: string][] = [];
  /** Bytes of the body or chunk that are still to come. */
  #left = 0;

  /** @param method of the request: an answer to HEAD has no body */
  constructor(method: string, events: HttpAnswerEvents) {
    this.#method = method;
    this.#events = events;
  }

  get over(): boolean {
    return this.#state === 'over';
  }

  /** Takes the next bytes; what follows the answer is not looked at. @throws MayflyError MAYFLY_HTTP_DAMAGED */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength && !this.over; ) at = this.#take(bytes, at);
  }

  /** The connection ended. @throws MayflyError MAYFLY_HTTP_DAMAGED if the answer did not */
  close(): void {
    if (this.#state === 'raw') this.#end();
    if (!this.over) throw damaged('the connection ended before the answer did');
  }

  #take(bytes: Uint8Array, at: number): number {
    if (this.#state === 'sized' || this.#state === 'chunk' || this.#state === 'raw') {
      const length = this.#state === 'raw' ? Number.POSITIVE_INFINITY : this.#left;
      const piece = bytes.slice(at, Math.min(bytes.byteLength, at + length));
      this.#left -= piece.byteLength;
      this.#events.body(piece);
      if (this.#state === 'sized' && this.#left === 0) this.#end();
      else if (this.#state === 'chunk' && this.#left === 0) this.#state = 'chunk-end';
      return at + piece.byteLength;
    }
    const end = bytes.indexOf(0x0a, at);
    const next = end < 0 ? bytes.byteLength : end + 1;
    this.#headBytes += next - at;
    if (this.#headBytes > HEAD_BYTES_MAX)
      throw damaged(`a head has more than ${HEAD_BYTES_MAX} bytes`);
    this.#line += latin1(bytes.subarray(at, end < 0 ? next : end));
    if (end >= 0) {
      const line = this.#line.endsWith('\r') ? this.#line.slice(0, -1) : this.#line;
      this.#line = '';
      this.#takeLine(line);
    }
    return next;
  }

  #takeLine(line: string): void {
    switch (this.#state) {
      case 'line':
        this.#takeStatus(line);
        break;
      case 'header':
        if (line === '') this.#headEnded();
        else this.#headers.push(headerOf(line));
        break;
      case 'size':
        this.#takeSize(line);
        break;
      case 'chunk-end':
        if (line !== '') throw damaged('a chunk is longer than it says');
        this.#state = 'size';
        this.#headBytes = 0;
        break;
      default: // trailer: nobody wants it
        if (line === '') this.#end();
    }
  }

  #takeStatus(line: string): void {
    const match = STATUS_LINE.exec(line);
    if (match === null) throw damaged(`${JSON.stringify(line.slice(0, 80))} is no status line`);
    this.#status = Number(match[1]);
    this.#headers = [];
    this.#state = 'header';
  }

  /** Which body follows: RFC 9112, 6.3. */
  #headEnded(): void {
    const status = this.#status;
    this.#headBytes = 0;
    if (status === 101) throw damaged('the server changed the protocol');
    if (status < 200) {
      this.#state = 'line'; // an interim answer
      return;
    }
    const encoding = this.#valueOf('transfer-encoding')?.toLowerCase();
    const length = encoding === undefined ? this.#length() : undefined;
    this.#events.head(status, this.#headers);
    if (this.#method === 'HEAD' || status === 204 || status === 304) this.#end();
    else if (encoding === 'chunked') this.#state = 'size';
    else if (encoding !== undefined) throw damaged(`the transfer encoding ${encoding} is unknown`);
    else if (length === 0) this.#end();
    else {
      this.#state = length === undefined ? 'raw' : 'sized';
      this.#left = length ?? 0;
    }
  }

  #length(): number | undefined {
    const length = this.#valueOf('content-length');
    if (length === undefined) return undefined;
    if (!LENGTH.test(length))
      throw damaged(`the content length ${length.slice(0, 40)} is no number`);
    return Number(length);
  }

  #takeSize(line: string): void {
    const match = CHUNK_SIZE.exec(line);
    if (match === null) throw damaged('a chunk without a size');
    this.#left = Number.parseInt(match[1] as string, 16);
    this.#state = this.#left === 0 ? 'trailer' : 'chunk';
  }

  /** Of a header that there may be once, or several times with the same value. */
  #valueOf(wanted: string): string | undefined {
    let found: string | undefined;
    for (const [name, value] of this.#headers) {
      if (name !== wanted) continue;
      if (found !== undefined && found !== value) throw damaged(`two values for ${wanted}`);
      found = value;
    }
    return found;
  }

  #end(): void {
    this.#state = 'over';
    this.#events.end();
  }
}

function headerOf(line: string): [name: string, value: string] {
  const match = HEADER.exec(line);
  if (match === null) throw damaged(`${JSON.stringify(line.slice(0, 80))} is no header`);
  return [(match[1] as string).toLowerCase(), match[2] as string];
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

const damaged = (why: string) =>
  new MayflyError('MAYFLY_HTTP_DAMAGED', `the answer of the guest's server is damaged: ${why}`);
