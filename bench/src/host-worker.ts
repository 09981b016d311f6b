/** A worker thread whose guests answer at once: what is left of an invocation is the host's part of it. */
import { openSync } from 'node:fs';
import { encodeFrame, FrameDecoder, type MayflyError } from '@mayfly/protocol';
import { type BootTask, type Guest, type GuestListener, poolTasks } from '@mayfly/vmm/clones';
import { ANSWER } from './hello.js';

const IDLE = { kind: 'idle', deadline: undefined } as const;
const READY = { type: 'ready', exports: 'fetch', version: process.version, pid: 1, logs: [] };
const HEADERS = [['content-type', 'text/plain;charset=UTF-8']];
/** As the agent of Node.js functions writes it. */
const FRAME = encodeFrame(
  { type: 'response', status: 200, headers: HEADERS, logs: [] },
  Buffer.from(ANSWER),
);

class InstantGuest implements Guest {
  readonly egress = undefined;
  readonly faults = 0;
  readonly #decoder = new FrameDecoder();
  #listener: GuestListener | undefined;

  begin(_frame: Uint8Array, listener: GuestListener): void {
    this.#listener = listener;
  }

  enter() {
    this.#decoder.push(FRAME);
    this.#listener?.onFrame(this.#decoder.next()!);
    return IDLE;
  }

  send(): boolean {
    return true;
  }

  pause(): void {}
  resume(): void {}
  satisfy(): void {}

  takeLines() {
    return [];
  }

  errorOf(): MayflyError {
    throw new Error('guests of this worker do not end');
  }
}

const guest = new InstantGuest();
const guests = {
  replaced: 0,
  async boot({ id, name }: BootTask) {
    const memoryFd = openSync('/dev/null', 'r');
    const template = { id, name, memoryFd, memorySize: 0, images: [] } as never;
    return { head: READY, template, bootMicros: 0, output: '' };
  },
  start() {},
  stop() {},
  take: () => guest,
  putBack() {},
  forget() {},
  store: async () => '',
  rewound: () => ({ rewoundPages: 0, rewindMicros: 0 }),
};

export const run = poolTasks(guests);
