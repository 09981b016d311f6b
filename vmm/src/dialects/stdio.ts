/**
 * The dialect of programs that read a request on standard input and write its answer to standard output. What they are when
 * they first wait for input is the template; a clone's input is the body of one request, and its answer is whole when the
 * program ends.
 */
import { decodeWholeFrame, FRAME_LIMITS, type LogLine, MayflyError } from '@mayfly/protocol';
import type { Machine, Stop } from '../machine/machine.js';
import type { Greeting, Talk, TalkEvents } from './dialect.js';

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
    if (stop.deadline !== undefined) return 'wait';
    const message = 'the program waits for something that is not its standard input';
    throw new MayflyError('MAYFLY_BOOT_FAILED', message);
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

export class StdioTalk implements Talk {
  readonly #machine: Machine;
  readonly #events: TalkEvents;
  #isEvent = false;
  #parts: Uint8Array[] = [];
  #bytes = 0;

  constructor(machine: Machine, events: TalkEvents) {
    this.#machine = machine;
    this.#events = events;
  }

  /** The answer is whole when the program ends: nothing of it can wait. */
  pause(): void {}
  resume(): void {}

  send(bytes: Uint8Array): boolean {
    const frame = decodeWholeFrame(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    if (frame === undefined) throw new MayflyError('MAYFLY_INTERNAL', 'half a frame for a program');
    const { head, body } = frame;
    if (head.type === 'event') this.#isEvent = true;
    const { console } = this.#machine.devices;
    if (body.byteLength > 0) console.pushInput(body);
    const goesOn = head.type === 'chunk' ? head.end !== true : head.more === true;
    if (!goesOn) console.endInput();
    return true;
  }

  output(chunk: Uint8Array): boolean {
    this.#bytes += chunk.byteLength;
    if (this.#bytes <= FRAME_LIMITS.bodyBytesMax) this.#parts.push(chunk);
    else {
      this.#parts = [];
      const message = `the program wrote more than ${FRAME_LIMITS.bodyBytesMax} bytes to its standard output`;
      this.#events.damaged(new MayflyError('MAYFLY_FRAME_TOO_LARGE', message));
    }
    return true;
  }

  turned(): void {}

  exited(code: number): void {
    const logs: LogLine[] = [];
    if (code !== 0) {
      const message = `the program ended with exit code ${code}`;
      const head = { type: 'error', code: 'FUNCTION_FAILED', message, stack: '', logs };
      this.#events.frame({ head, body: new Uint8Array() });
      return;
    }
    const body = Buffer.concat(this.#parts);
    if (this.#isEvent) {
      this.#events.frame({ head: { type: 'result', logs }, body: jsonOf(body) });
    } else {
      const headers = [['content-type', typeOf(body)]];
      this.#events.frame({ head: { type: 'response', status: 200, headers, logs }, body });
    }
  }

  reset(): void {
    this.#isEvent = false;
    this.#parts = [];
    this.#bytes = 0;
  }
}

/** Programs do not say what they write. */
function typeOf(body: Uint8Array): string {
  return isText(body) ? 'text/plain; charset=utf-8' : 'application/octet-stream';
}

function isText(body: Uint8Array): boolean {
  try {
    utf8.decode(body);
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
