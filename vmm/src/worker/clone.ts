/**
 * A clone: a machine that starts from a template, serves one invocation, and is rewound.
 *
 * ```
 *   ready ── begin(frame) ──► running ── the invocation is over ──► used ── rewind() ──► ready, or replaced
 * ```
 * A clone whose guest failed is thrown away instead.
 */
import { type Frame, type LogLine, MayflyError } from '@mayfly/protocol';
import { crashLine } from '../debug/crash-report.js';
import { type Talk, talk } from '../dialects/dialect.js';
import { type GuestMemory, Rewinder } from '../kvm/index.js';
import { guardedRanges } from '../machine/cpl0.js';
import { NESTED_PAGING } from '../machine/host-cpu.js';
import { newIdentity } from '../machine/identity.js';
import type { Machine, Stop } from '../machine/machine.js';
import { machineFromState, type Provisions } from '../machine/machine-state.js';
import { betweenTurns, failureError } from '../machine/run-to-end.js';
import { resetVcpu } from '../machine/vcpu-state.js';
import { denialText } from '../network/denial.js';
import type { EgressStats } from '../network/egress.js';
import { WayOut } from '../network/way-out.js';
import type { Guest, GuestListener } from './guest.js';
import { OutputLines, type OutputStream } from './output-lines.js';
import { OutputTail } from './output-tail.js';
import { takeFaults } from './page-faults.js';
import type { Template } from './template.js';

export interface CloneParts extends Provisions {
  workingSet?: Uint32Array | undefined;
  dirtyPagesMax?: number;
}

export class Clone implements Guest {
  readonly template: Template;
  readonly machine: Machine;
  readonly #rewinder: Rewinder;
  readonly #talk: Talk;
  readonly #wayOut: WayOut;
  /** What the program printed in this life. */
  #output = new OutputTail();
  readonly #lines = new OutputLines();
  #listener: GuestListener | undefined;
  #damage: MayflyError | undefined;
  #ready = true;
  #faults = 0;
  /** Pages that the last rewind put back. */
  rewoundPages = 0;

  /**
   * `templateMemory`: the template's file, mapped read-only. `workingSet`: pages to copy now, as pairs [first, count].
   * `dirtyPagesMax`: pages that a rewind puts back; a clone that wrote more is not rewound.
   */
  constructor(
    template: Template,
    templateMemory: GuestMemory,
    { workingSet, dirtyPagesMax, ...provisions }: CloneParts = {},
  ) {
    this.template = template;
    const stdout = (chunk: Uint8Array) => this.#print('stdout', chunk);
    const stderr = (chunk: Uint8Array) => this.#print('stderr', chunk);
    const needInput = () => this.#listener?.onDrain();
    this.machine = machineFromState(template, { stdout, stderr, needInput }, provisions);
    if (workingSet !== undefined) this.machine.memory.populate(workingSet);
    const { vsock } = this.machine.devices;
    this.#wayOut = new WayOut(vsock, {
      allow: template.network,
      hostname: () => this.machine.shared.hostname,
      denied: (denial) => this.#lines.push('warn', denialText(denial, 'network.allow')),
    });
    this.#talk = talk(template.dialect, this.machine, {
      frame: (frame) => this.#receive(frame),
      damaged: (error) => {
        this.#damage ??= error;
      },
      drained: () => this.#listener?.onDrain(),
    });
    this.#rewinder = Rewinder.create({
      memory: this.machine.memory,
      template: templateMemory,
      vcpu: this.machine.vcpu,
      regs: template.state.vcpu.regs,
      sregs: template.state.vcpu.sregs,
      guard: guardedRanges(NESTED_PAGING),
      flush: NESTED_PAGING,
      ...(dirtyPagesMax !== undefined && { pagesMax: dirtyPagesMax }),
    });
  }

  get ready(): boolean {
    return this.#ready;
  }

  get faults(): number {
    return this.#faults;
  }

  get egress(): EgressStats | undefined {
    const { stats } = this.#wayOut;
    return stats && { ...stats };
  }

  begin(frame: Uint8Array, listener: GuestListener): void {
    this.#ready = false;
    this.#faults = 0;
    this.#listener = listener;
    this.machine.bus.onInput = () => listener.onInput();
    newIdentity(this.machine.shared, this.template.state.capturedAt);
    this.#talk.send(frame);
  }

  enter(): Stop {
    if (this.#damage !== undefined) throw this.#damage;
    const stop = this.machine.enter();
    this.#faults += takeFaults();
    this.#talk.turned(stop.kind === 'idle');
    if (stop.kind === 'exited' && (stop.status & 0xff) === 0) this.#talk.exited(stop.status >> 8);
    if (this.#damage !== undefined) throw this.#damage;
    return stop;
  }

  send(frame: Uint8Array): boolean {
    return this.#talk.send(frame);
  }

  pause(): void {
    this.#talk.pause();
  }

  resume(): void {
    this.#talk.resume();
  }

  satisfy(): void {
    this.machine.satisfied = true;
  }

  takeLines(last: boolean): LogLine[] {
    return last ? this.#lines.takeLast() : this.#lines.take();
  }

  errorOf(stop: Extract<Stop, { kind: 'failed' | 'exited' }>): MayflyError {
    if (stop.kind === 'failed') return failureError(stop);
    if (stop.described) {
      this.#output.add(Buffer.from(`${crashLine(this.machine, stop.status)}\n`));
    }
    return exitedError(stop.status, this.#output.text);
  }

  /**
   * One invocation whose answer is one frame, for those who have the thread to themselves. Throws MAYFLY_GUEST_TIMEOUT after
   * `deadlineMs` (performance.now()), MAYFLY_GUEST_EXITED, MAYFLY_GUEST_* for a broken guest, MAYFLY_FRAME_*.
   */
  async invoke(frame: Uint8Array, deadlineMs: number): Promise<Frame> {
    let answer: Frame | undefined;
    const onFrame = (frame: Frame) => {
      if (frame.head.type === 'log') return;
      answer ??= frame;
      this.satisfy();
    };
    this.begin(frame, { onFrame, onInput: () => {}, onDrain: () => {} });
    for (;;) {
      const stop = this.enter();
      if (answer !== undefined) return answer;
      if (stop.kind === 'failed' || stop.kind === 'exited') throw this.errorOf(stop);
      if (performance.now() >= deadlineMs) {
        throw new MayflyError('MAYFLY_GUEST_TIMEOUT', 'the function took longer than it may');
      }
      await betweenTurns(this.machine, stop, deadlineMs);
    }
  }

  /**
   * Puts everything back: memory, registers, devices, the stream. False: this clone cannot be rewound and must be
   * replaced, because its guest wrote to what runs at CPL 0, or to too many pages, or, without nested paging, to page tables.
   * Tables that are copied back would go unseen by a KVM that shadows them, and old translations would live on; what a guest
   * did at CPL 0 is put back with nested paging only.
   */
  rewind(): boolean {
    if (this.#ready) return true;
    this.#wayOut.end();
    const pages = this.#rewinder.rewind();
    if (pages < 0) return false;
    this.rewoundPages = pages;
    const { vcpu, devices } = this.template.state;
    if (NESTED_PAGING) resetVcpu(this.machine.vcpu, vcpu);
    if (vcpu.xsave !== undefined) this.machine.vcpu.setXsave(vcpu.xsave);
    this.machine.bus.restore(devices);
    this.#talk.reset();
    if (!this.#output.empty) this.#output = new OutputTail();
    this.#lines.clear();
    this.#listener = undefined;
    this.machine.satisfied = false;
    this.#damage = undefined;
    this.#ready = true;
    return true;
  }

  /** The rewinder goes too: it holds the clone's memory. */
  close(): void {
    this.#wayOut.close();
    this.#rewinder.close();
    this.machine.close();
  }

  #print(stream: OutputStream, chunk: Uint8Array): void {
    if (stream === 'stdout' && this.#talk.output(chunk)) return;
    this.#output.add(chunk);
    this.#lines.add(stream, chunk);
  }

  /** What the guest sends is looked at where it comes in, and remembered if it is wrong: enter() tells. */
  #receive(frame: Frame): void {
    if (this.#damage !== undefined) return;
    try {
      this.#listener?.onFrame(frame);
    } catch (error) {
      this.#damage = error as MayflyError;
    }
  }
}

/** Set in the wait status when the guest's memory ran out; see docs/machine.md. */
const OUT_OF_MEMORY = 0x80;

function exitedError(status: number, output: string): MayflyError {
  const signal = status & 0x7f;
  const detail = output === '' ? undefined : { cause: output };
  if (status & OUT_OF_MEMORY) {
    return new MayflyError(
      'MAYFLY_GUEST_OOM',
      'the function needs more memory than it has',
      detail,
    );
  }
  const how = signal === 0 ? `exit code ${(status >> 8) & 0xff}` : `signal ${signal}`;
  const message = `the program ended (${how}) without an answer`;
  return new MayflyError('MAYFLY_GUEST_EXITED', message, detail);
}
