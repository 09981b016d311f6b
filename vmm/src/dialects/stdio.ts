/**
 * The dialect of programs that read a request on standard input and write its answer to standard output. What they are when
 * they first wait for input is the template; a clone's input is the body of one request, and its answer ends with the
 * program.
 */
import { decodeWholeFrame, FRAME_LIMITS, type LogLine, MayflyError } from '@mayfly/protocol';
import type { Machine, Stop } from '../machine/machine.js';
import { streamsOut } from '../network/way-out.js';
import type { Greeting, Talk, TalkEvents } from './dialect.js';
import { Pieces } from './pieces.js';

export class StdioGreeting implements Greeting {
  readonly missing = 'the program does not read its standard input';
  readonly #machine: Machine;
  readonly #logs: () => LogLine[];

  constructor(machine: Machine, logs: () => LogLine[]) {
    this.#machine = machine;
    this.#logs = logs;
  }

  look(stop: Stop): Record<string, unknown> | 'wait' {
    if (stop.kind === 'exited') {
      const code = stop.status >> 8;
      throw new MayflyError(
        'MAYFLY_BOOT_FAILED',
        `the program ended with exit code ${code} before it read its standard input`,
      );
    }
    if (stop.kind !== 'idle') return 'wait';
    if (this.#machine.devices.console.inputOpened) {
      return { type: 'ready', exports: 'stdin', version: '', pid: 1, logs: this.#logs() };
    }
    if (stop.deadline !== undefined || streamsOut(this.#machine.devices.vsock).length > 0) {
      return 'wait';
    }
    const message = 'the program waits for something that is not its standard input';
    throw new MayflyError('MAYFLY_BOOT_FAILED', message);
  }
}

/** Output that may wait for the end of the program, whose exit code can make an error of it. */
const HELD_BYTES_MAX = 64 * 1024;

export class StdioTalk implements Talk {
  readonly #machine: Machine;
  readonly #events: TalkEvents;
  readonly #pieces = new Pieces();
  #isEvent = false;
  /** The answer's head was told of. */
  #begun = false;

  constructor(machine: Machine, events: TalkEvents) {
    this.#machine = machine;
    this.#events = events;
  }

  pause(): void {
    this.#machine.devices.console.holdOutput();
  }

  resume(): void {
    this.#machine.devices.console.releaseOutput();
  }

  send(bytes: Uint8Array): boolean {
    const frame = decodeWholeFrame(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    if (frame === undefined) throw new MayflyError('MAYFLY_INTERNAL', 'half a frame for a program');
    const { head, body } = frame;
    if (head.type === 'event') this.#isEvent = true;
    const { console } = this.#machine.devices;
    const room = body.byteLength === 0 || console.pushInput(body);
    const goesOn = head.type === 'chunk' ? head.end !== true : head.more === true;
    if (!goesOn) console.endInput();
    return room;
  }

  output(chunk: Uint8Array): boolean {
    this.#pieces.add(chunk);
    if (!this.#isEvent) {
      if (this.#pieces.bytes > HELD_BYTES_MAX) this.#tell(false);
    } else if (this.#pieces.bytes > FRAME_LIMITS.bodyBytesMax) {
      this.#pieces.take();
      const message = `the program wrote more than ${FRAME_LIMITS.bodyBytesMax} bytes to its standard output`;
      this.#events.damaged(new MayflyError('MAYFLY_FRAME_TOO_LARGE', message));
    }
    return true;
  }

  /** A program that waits shows what it has: for its time, or for input that answers its output. */
  turned(idle: boolean): void {
    if (idle && !this.#isEvent && this.#pieces.bytes > 0) this.#tell(false);
  }

  exited(code: number): void {
    const { console } = this.#machine.devices;
    console.releaseOutput();
    this.#machine.serve(); // what was held in the guest
    if (code !== 0) {
      const message = `the program ended with exit code ${code}`;
      const head = { type: 'error', code: 'FUNCTION_FAILED', message, stack: '', logs: [] };
      this.#events.frame({ head, body: new Uint8Array() });
    } else if (this.#isEvent) {
      const body = jsonOf(Buffer.from(this.#pieces.take()));
      this.#events.frame({ head: { type: 'result', logs: [] }, body });
    } else {
      this.#tell(true);
    }
  }

  reset(): void {
    this.#pieces.take();
    this.#isEvent = false;
    this.#begun = false;
  }

  /** The head with what there is of the body, or more of it. */
  #tell(end: boolean): void {
    const body = this.#pieces.take();
    if (this.#begun) {
      this.#events.frame({ head: { type: 'chunk', ...(end && { end: true }) }, body });
      return;
    }
    this.#begun = true;
    const headers = [['content-type', typeOf(body)]];
    const head = { type: 'response', status: 200, headers, logs: [], ...(!end && { more: true }) };
    this.#events.frame({ head, body });
  }
}

/** Programs do not say what they write: its start does. */
function typeOf(body: Uint8Array): string {
  return isText(body) ? 'text/plain; charset=utf-8' : 'application/octet-stream';
}

/** It may end within a character. */
function isText(body: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(body, { stream: true });
    return true;
  } catch {
    return false;
  }
}

/** The result of an event is JSON: as the program wrote it, or else its text as a string. */
function jsonOf(body: Buffer): Buffer {
  const text = body.toString();
  try {
    JSON.parse(text);
    return body;
  } catch {
    return Buffer.from(JSON.stringify(text));
  }
}
