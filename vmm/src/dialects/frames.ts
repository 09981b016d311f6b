/** The dialect of agents, who speak frames themselves. */
import { FrameDecoder, MayflyError } from '@mayfly/protocol';
import type { VsockStream } from '../devices/index.js';
import type { Machine, Stop } from '../machine/machine.js';
import type { Greeting, Talk, TalkEvents } from './dialect.js';

/** The port on the host that an agent connects to. */
const AGENT_PORT = 1024;

export class FramesGreeting implements Greeting {
  readonly #decoder = new FrameDecoder();
  #head: Record<string, unknown> | undefined;

  constructor(machine: Machine) {
    machine.devices.console.endInput();
    machine.devices.vsock.listen(AGENT_PORT, (stream) => {
      stream.onData = (chunk) => this.#decoder.push(chunk);
    });
  }

  look(_stop: Stop): Record<string, unknown> | 'wait' {
    this.#head ??= this.#decoder.next()?.head;
    return this.#head ?? 'wait';
  }
}

export class FramesTalk implements Talk {
  readonly #stream: VsockStream;
  readonly #events: TalkEvents;
  #decoder = new FrameDecoder();

  constructor(machine: Machine, events: TalkEvents) {
    const stream = machine.devices.vsock.streams.find(({ hostPort }) => hostPort === AGENT_PORT);
    if (stream === undefined)
      throw new MayflyError('MAYFLY_INTERNAL', 'a template without a stream');
    this.#stream = stream;
    this.#events = events;
    stream.onData = (chunk) => this.#receive(chunk);
    stream.onDrain = () => events.drained();
  }

  send(frame: Uint8Array): boolean {
    return this.#stream.write(frame);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  output(): boolean {
    return false;
  }

  turned(): void {}

  exited(): void {}

  reset(): void {
    this.#decoder = new FrameDecoder();
  }

  #receive(chunk: Uint8Array): void {
    try {
      this.#decoder.push(chunk);
      for (let frame = this.#decoder.next(); frame; frame = this.#decoder.next()) {
        this.#events.frame(frame);
      }
    } catch (error) {
      this.#events.damaged(error as MayflyError);
    }
  }
}
