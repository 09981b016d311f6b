/** A worker whose guests are generators: what the pool and the turns of a thread do is seen without machines. */
import { openSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { type Frame, FrameDecoder, type LogLine, MayflyError } from '@mayfly/protocol';
import { CheckpointStore } from '../../src/checkpoint/store.js';
import type { Stop } from '../../src/machine/machine.js';
import type { Guest, GuestListener } from '../../src/worker/guest.js';
import type { BootTask, InvokeTask, StoreTask } from '../../src/worker/messages.js';
import { type Guests, poolTasks } from '../../src/worker/tasks.js';
import type { Template } from '../../src/worker/template.js';
import { bootedMemory, stateOf } from '../checkpoint/scratch.js';

const SLICE: Stop = { kind: 'slice' };
const WAIT: Stop = { kind: 'idle', deadline: undefined };
const CREDIT = 256 * 1024;

interface Head extends Record<string, unknown> {
  command: string;
  ms: number;
  count: number;
  bytes: number;
  busyMs?: number;
}

/** Counted over all guests of the thread; `workingSet`: of the template that came last. */
const seen = { running: 0, mostRunning: 0, entries: 0, workingSet: [] as number[] };

class ScriptGuest implements Guest {
  #listener: GuestListener | undefined;
  #decoder = new FrameDecoder();
  #inbox: Frame[] = [];
  #script: Generator<Stop, void> | undefined;
  #damage: unknown;
  #paused = false;
  #held: Frame[] = [];
  #heldBytes = 0;
  #lines: LogLine[] = [];
  #waitsForRoom = false;

  begin(frame: Uint8Array, listener: GuestListener): void {
    this.#listener = listener;
    this.send(frame);
    const first = this.#inbox.shift() as Frame;
    this.#script = this.#run(first.head as Head, first.body);
    seen.running++;
    seen.mostRunning = Math.max(seen.mostRunning, seen.running);
  }

  enter(): Stop {
    seen.entries++;
    if (this.#damage) throw this.#damage;
    const { value, done } = (this.#script as Generator<Stop, void>).next();
    if (this.#damage) throw this.#damage;
    return done ? WAIT : value;
  }

  send(frame: Uint8Array): boolean {
    this.#decoder.push(frame);
    for (let f = this.#decoder.next(); f; f = this.#decoder.next()) this.#inbox.push(f);
    if (this.#script) this.#listener?.onInput();
    this.#waitsForRoom = this.#inbox.length > 4;
    return !this.#waitsForRoom;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    while (!this.#paused && this.#held.length > 0) this.#deliver(this.#held.shift() as Frame);
    if (!this.#paused) this.#heldBytes = 0;
    this.#listener?.onInput();
  }

  satisfy(): void {}

  readonly egress = undefined;
  readonly faults = 3;

  takeLines(): LogLine[] {
    return this.#lines.splice(0);
  }

  errorOf(): MayflyError {
    return new MayflyError('MAYFLY_GUEST_EXITED', 'the script ended');
  }

  #say(head: object, body: Uint8Array = new Uint8Array(0)): void {
    const frame = { head: head as Record<string, unknown>, body: Uint8Array.from(body) };
    if (this.#paused) {
      this.#held.push(frame);
      this.#heldBytes += body.byteLength;
    } else this.#deliver(frame);
  }

  #deliver(frame: Frame): void {
    try {
      this.#listener?.onFrame(frame);
    } catch (error) {
      this.#damage ??= error;
    }
  }

  #take(): Frame | undefined {
    const frame = this.#inbox.shift();
    if (this.#waitsForRoom && this.#inbox.length <= 4) {
      this.#waitsForRoom = false;
      this.#listener?.onDrain();
    }
    return frame;
  }

  *#sleep(ms: number): Generator<Stop, void> {
    const deadline = process.hrtime.bigint() + BigInt(Math.round(ms * 1e6));
    while (process.hrtime.bigint() < deadline) yield { kind: 'idle', deadline };
  }

  *#run(head: Head, body: Uint8Array): Generator<Stop, void> {
    const answer = (more: object = {}) => ({ type: 'response', logs: [], ...more });
    switch (head.command) {
      case 'echo':
        this.#say(answer({ got: body.byteLength }), body);
        return;
      case 'seen':
        this.#say(answer({ ...seen }));
        seen.mostRunning = seen.running;
        return;
      case 'sleep':
        yield* this.#sleep(head.ms);
        this.#say(answer());
        return;
      case 'spin':
        for (const end = performance.now() + head.ms; performance.now() < end; ) {
          const slice = performance.now() + 2;
          while (performance.now() < slice);
          yield SLICE;
        }
        this.#say(answer());
        return;
      case 'stream':
        yield* this.#stream(head);
        return;
      case 'upload':
        this.#say(answer({ more: true }));
        for (;;) {
          const frame = this.#take();
          if (!frame) {
            yield WAIT;
            continue;
          }
          this.#say(frame.head, frame.body);
          if (frame.head.end) return;
          if (head.ms) yield* this.#sleep(head.ms);
        }
      case 'behind':
        this.#say(answer({ pending: true }), Buffer.from('answer'));
        yield* this.#sleep(head.ms);
        this.#say({ type: 'log', logs: [{ text: 'behind' }] });
        this.#say({ type: 'done' });
        return;
      case 'logs':
        this.#say({ type: 'log', logs: [{ text: 'early' }] });
        yield* this.#sleep(50);
        this.#lines.push({ level: 'info', time: 0, text: 'printed' });
        this.#say(answer());
        return;
      case 'chunk':
        this.#say({ type: 'chunk' }, Buffer.from('no head'));
        return;
      case 'error':
        if (head.count > 0) this.#say(answer({ more: true }), Buffer.from('begun'));
        if (head.ms) yield* this.#sleep(head.ms);
        this.#say({ type: 'error', code: 'FUNCTION_THREW' });
        return;
      case 'exit':
        if (head.count > 0) this.#say(answer({ more: true }), Buffer.from('begun'));
        if (head.ms) yield* this.#sleep(head.ms);
        yield { kind: 'exited', status: 0, described: false };
        return;
      case 'die':
        if (head.count > 0) {
          this.#say(answer({ more: true }), Buffer.from('begun'));
          if (head.ms) yield* this.#sleep(head.ms);
        }
        if (head.busyMs) {
          this.#say({ type: 'log', logs: [{ text: 'busy' }] });
          yield SLICE;
        }
        // Nothing else is served from here on.
        for (const end = performance.now() + (head.busyMs ?? 0); performance.now() < end; );
        (head.count > 0 ? setImmediate : process.nextTick)(() => {
          throw new Error('a defect of the worker');
        });
        yield WAIT;
    }
  }

  *#stream({ count, bytes, ms }: Head): Generator<Stop, void> {
    this.#say({ type: 'response', logs: [], more: true });
    for (let i = 0; i < count; i++) {
      while (this.#heldBytes >= CREDIT) yield WAIT;
      this.#say({ type: 'chunk' }, Buffer.alloc(bytes, i));
      if (ms) yield* this.#sleep(ms);
    }
    this.#say({ type: 'chunk', end: true });
  }
}

class ScriptGuests implements Guests<ScriptGuest> {
  replaced = 0;
  readonly #templates = new Set<number>();

  async boot({ id, name }: BootTask) {
    const memoryFd = openSync('/dev/null', 'r');
    const template = { id, name, memoryFd, memorySize: 0, images: [] } as unknown as Template;
    return { head: { type: 'ready' }, template, bootMicros: 1, output: '' };
  }

  start(): void {}
  stop(): void {}

  async store({ directory, name, labels }: StoreTask): Promise<string> {
    const memory = bootedMemory();
    const captured = { memory, state: stateOf(memory), images: [], command: ['/f'] };
    return (await CheckpointStore.ofOpened(directory).create({ name, labels }, captured)).id;
  }

  take(task: InvokeTask): ScriptGuest {
    if (task.template) {
      this.#templates.add(task.templateId);
      seen.workingSet = [...(task.template.workingSet ?? [])];
    }
    if (!this.#templates.has(task.templateId)) {
      throw new MayflyError('MAYFLY_TEMPLATE_NOT_HERE', 'not here');
    }
    return new ScriptGuest();
  }

  putBack(_guest: ScriptGuest, { templateId }: InvokeTask, sound: boolean): void {
    seen.running--;
    parentPort?.postMessage({ templateId, workingSet: Uint32Array.of(1, 2, 5, 1) });
    if (!sound) this.replaced++;
  }

  forget(templateId: number): void {
    this.#templates.delete(templateId);
  }

  rewound() {
    return { rewoundPages: 0, rewindMicros: undefined };
  }
}

export const run = poolTasks(new ScriptGuests());
