/**
 * The dialect of HTTP servers: the host speaks to an unmodified server on a connection to its TCP port. The template has one,
 * accepted and idle.
 */
import {
  decodeWholeFrame,
  type EventHead,
  type LogLine,
  MayflyError,
  type RequestHead,
  type WarmUpCall,
} from '@mayfly/protocol';
import type { VsockStream } from '../devices/index.js';
import type { Machine, Stop } from '../machine/machine.js';
import { Dial } from '../network/dial.js';
import { streamsOut } from '../network/way-out.js';
import type { Greeting, Talk, TalkEvents } from './dialect.js';
import { HttpAnswer } from './http-answer.js';
import { announcedBytes, chunk, LAST_CHUNK, methodOf, requestHead } from './http-request.js';
import { HttpWarmUp } from './http-warm-up.js';
import { Pieces } from './pieces.js';

/** Until the next timer of a guest that has nothing to do before it. */
const FAR_NS = 10_000_000_000n;

export class HttpGreeting implements Greeting {
  readonly #machine: Machine;
  readonly #port: number;
  readonly #logs: () => LogLine[];
  #connection: 'none' | 'asked' | 'open' | 'warming' | 'ended' = 'none';
  #dial: Dial | undefined;
  /** Since the guest waits for nothing but input. */
  #askedAtRest = false;
  #stream: VsockStream | undefined;
  /** What is still to be answered before the server is ready. */
  readonly #toWarm: WarmUpCall[];
  #warmUp: HttpWarmUp | undefined;

  /** @param warmup what the server answers before it is ready */
  constructor(
    machine: Machine,
    { port, warmup = [] }: { port: number; warmup?: readonly WarmUpCall[] },
    logs: () => LogLine[],
  ) {
    machine.devices.console.endInput();
    this.#machine = machine;
    this.#port = port;
    this.#toWarm = [...warmup];
    this.#logs = logs;
  }

  get missing(): string {
    return this.#warmUp?.missing ?? this.#notListening;
  }

  look(stop: Stop): Record<string, unknown> | 'wait' | 'enter' {
    if (stop.kind === 'exited') {
      const when = this.#warmUp ? 'before it was warm' : `before it listened on port ${this.#port}`;
      const message = `the program ended with exit code ${stop.status >> 8} ${when}`;
      throw new MayflyError('MAYFLY_BOOT_FAILED', message);
    }
    if (stop.kind !== 'idle') return 'wait';
    switch (this.#connection) {
      case 'open':
        if (this.#warm()) return 'enter';
        return { type: 'ready', exports: 'http', version: '', pid: 1, logs: this.#logs() };
      case 'none':
        this.#connect();
        return 'enter';
      case 'warming':
        if (!this.#warmUp?.over) return this.#waiting(stop);
        this.#warmUp = undefined;
        this.#connect();
        return 'enter';
      case 'ended':
        throw new MayflyError('MAYFLY_BOOT_FAILED', `port ${this.#port} ends connections at once`);
      default:
        return this.#waiting(stop);
    }
  }

  /**
   * At rest, nothing will ever listen, or answer; but what listens now may have begun after it was asked. One that listens
   * elsewhere, and whose next timer is far, has started: Node.js' servers look after their connections now and then.
   */
  #waiting({ deadline }: { deadline: bigint | undefined }): 'wait' | 'enter' {
    const { devices, shared } = this.#machine;
    const isFar = deadline !== undefined && deadline - process.hrtime.bigint() > FAR_NS;
    const rests = (deadline === undefined || isFar) && streamsOut(devices.vsock).length === 0;
    if (!rests) {
      this.#askedAtRest = false;
      return 'wait';
    }
    if (this.#dial?.refused && !this.#askedAtRest) {
      this.#askedAtRest = true;
      this.#dial.askNow();
      return 'enter';
    }
    if (isFar && (this.#warmUp || shared.listeningPorts.length === 0)) return 'wait';
    this.#dial?.stop();
    throw new MayflyError('MAYFLY_BOOT_FAILED', this.missing);
  }

  get #notListening(): string {
    const [first, ...more] = this.#machine.shared.listeningPorts;
    const missing = `the program does not listen on port ${this.#port}`;
    if (first === undefined) return missing;
    const others = more.length > 0 ? `ports ${[first, ...more].join(', ')}` : `port ${first}`;
    return `${missing} but on ${others}: set "port": ${first} in its mayfly.json, or have it listen on the port in its variable PORT`;
  }

  /** Whether there is something to be done before the connection is the template's. */
  #warm(): boolean {
    if (this.#stream === undefined) return false;
    const call = this.#toWarm.shift();
    if (call === undefined) return false;
    this.#warmUp = new HttpWarmUp(this.#stream, call);
    this.#connection = 'warming';
    return true;
  }

  #connect(): void {
    this.#connection = 'asked';
    this.#dial = new Dial(this.#machine.devices.vsock, this.#port, (stream) => {
      this.#stream = stream;
      this.#connection = 'open';
      stream.onClose = stream.onEnd = () => {
        this.#connection = 'ended';
      };
    });
  }
}

/** Of a body that waits for the end of the turn: then the guest has shown what it has. */
const PIECES_BYTES_MAX = 256 * 1024;

type Head = Record<string, unknown>;

export class HttpTalk implements Talk {
  readonly #stream: VsockStream;
  readonly #events: TalkEvents;
  #answer: HttpAnswer | undefined;
  /** The head of the answer, until it is told of. */
  #head: Head | undefined;
  readonly #pieces = new Pieces();
  #inChunks = false;

  constructor(machine: Machine, port: number, events: TalkEvents) {
    const stream = machine.devices.vsock.streams.find(({ guestPort }) => guestPort === port);
    if (stream === undefined)
      throw new MayflyError('MAYFLY_INTERNAL', 'a template without a connection');
    this.#stream = stream;
    this.#events = events;
    stream.onData = (bytes) => this.#guarded(() => this.#answer?.push(bytes));
    stream.onDrain = () => events.drained();
    stream.onEnd = () => this.#guarded(() => this.#answer?.close());
    stream.onClose = (reason) => {
      if (reason !== 'rewound') this.#guarded(() => this.#answer?.close());
    };
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  send(bytes: Uint8Array): boolean {
    const frame = decodeWholeFrame(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    if (frame === undefined) throw new MayflyError('MAYFLY_INTERNAL', 'half a frame for a server');
    const { body } = frame;
    const head = frame.head as unknown as RequestHead | EventHead;
    if (frame.head.type === 'chunk') {
      if (!this.#inChunks) return this.#stream.write(body);
      const room = this.#stream.write(chunk(body));
      return frame.head.end === true ? this.#stream.write(LAST_CHUNK) : room;
    }
    this.#answer = new HttpAnswer(methodOf(head), {
      head: (status, headers) => {
        this.#head = { type: 'response', status, headers };
      },
      body: (piece) => this.#keep(piece),
      end: () => this.#tell(true),
    });
    const length = head.more === true ? announcedBytes(head) : body.byteLength;
    this.#inChunks = length === undefined;
    const first = this.#inChunks ? chunk(body) : body;
    return this.#stream.write(Buffer.concat([requestHead(head, length), first]));
  }

  output(): boolean {
    return false;
  }

  turned(): void {
    if (this.#head !== undefined || this.#pieces.bytes > 0) this.#tell(false);
  }

  exited(): void {}

  reset(): void {
    this.#answer = undefined;
    this.#head = undefined;
    this.#pieces.take();
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#events.damaged(error as MayflyError);
    }
  }

  #keep(piece: Uint8Array): void {
    this.#pieces.add(piece);
    if (this.#pieces.bytes > PIECES_BYTES_MAX) this.#tell(false);
  }

  /** Sends on what there is: the head with the body's first pieces, or a chunk. */
  #tell(end: boolean): void {
    const body = this.#pieces.take();
    if (this.#head !== undefined) {
      this.#events.frame({ head: { ...this.#head, logs: [], ...(!end && { more: true }) }, body });
      this.#head = undefined;
      return;
    }
    this.#events.frame({ head: { type: 'chunk', ...(end && { end: true }) }, body });
  }
}
