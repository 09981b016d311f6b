/**
 * A clone: a machine that starts from a template, serves one invocation, and is rewound.
 *
 * ```
 *   ready ── begin(frame) ──► running ── answer, failure, time-out ──► used ── rewind() ──► ready, or replaced
 * ```
 * A clone whose guest failed is thrown away instead.
 */
import { AnswerOrder, answerBroken, type Frame, type LogLine, MayflyError } from '@mayfly/protocol';
import { crashLine } from '../debug/crash-report.js';
import { type OutputStream, type Talk, talk } from '../dialects/dialect.js';
import { type GuestMemory, Rewinder } from '../kvm/index.js';
import { guardedRanges } from '../machine/cpl0.js';
import { NESTED_PAGING } from '../machine/host-cpu.js';
import { newIdentity } from '../machine/identity.js';
import { KernelImage } from '../machine/kernel-image.js';
import type { Failure, Machine } from '../machine/machine.js';
import { machineFromState, type Provisions } from '../machine/machine-state.js';
import { resetVcpu } from '../machine/vcpu-state.js';
import { denialText } from '../network/denial.js';
import type { EgressStats } from '../network/egress.js';
import { WayOut } from '../network/way-out.js';
import { OutputTail } from './output-tail.js';
import type { Template } from './template.js';

/**
 * Slices in a row before others of the thread get a turn. A turn wants to be long: whoever gets it may need a new clone,
 * whose first run takes tens of milliseconds.
 */
const TURN_SLICES = 4;

export interface CloneParts extends Provisions {
  workingSet?: Uint32Array | undefined;
  dirtyPagesMax?: number;
}

export class Clone {
  readonly template: Template;
  readonly machine: Machine;
  readonly #rewinder: Rewinder;
  readonly #talk: Talk;
  readonly #wayOut: WayOut;
  /** What it was refused in this life. */
  #denials: LogLine[] = [];
  /** What the program printed in this life. */
  #output = new OutputTail();
  #answer: Frame | undefined;
  #order = new AnswerOrder();
  /** Chunks of the answer's body, to be put together when it is whole. */
  #chunks: Uint8Array[] = [];
  #damage: MayflyError | undefined;
  #ready = true;
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
    const keep = (stream: OutputStream) => (chunk: Uint8Array) => {
      this.#output.add(chunk);
      this.#talk.output(stream, chunk);
    };
    const console = { stdout: keep('stdout'), stderr: keep('stderr') };
    this.machine = machineFromState(template, console, provisions);
    if (workingSet !== undefined) this.machine.memory.populate(workingSet);
    const { vsock } = this.machine.devices;
    this.#wayOut = new WayOut(vsock, {
      allow: template.network,
      denied: (denial) => this.#deny(denialText(denial, 'network.allow')),
    });
    this.#talk = talk(template.dialect, this.machine, {
      frame: (frame) => this.#add(frame),
      damaged: (error) => {
        this.#damage ??= error;
      },
    });
    this.#rewinder = Rewinder.create({
      memory: this.machine.memory,
      template: templateMemory,
      vcpu: this.machine.vcpu,
      regs: template.state.vcpu.regs,
      sregs: template.state.vcpu.sregs,
      guard: guardedRanges(KernelImage.default(), NESTED_PAGING),
      flush: NESTED_PAGING,
      ...(dirtyPagesMax !== undefined && { pagesMax: dirtyPagesMax }),
    });
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** What went out in this life; undefined when nothing tried to. */
  get egress(): EgressStats | undefined {
    const { stats } = this.#wayOut;
    return stats && { ...stats };
  }

  /** Lines for the log: what the policy refused since the last call. */
  takeDenials(): LogLine[] {
    return this.#denials.splice(0);
  }

  /**
   * Runs one invocation to its answer.
   * Throws MAYFLY_GUEST_TIMEOUT, MAYFLY_GUEST_EXITED, MAYFLY_GUEST_* for a broken guest, MAYFLY_FRAME_*.
   * `stopped` is asked between turns.
   */
  async invoke(frame: Uint8Array, deadlineMs: number, stopped: () => boolean): Promise<Frame> {
    this.#ready = false;
    newIdentity(this.machine.shared, this.template.state.capturedAt);
    this.#talk.send(frame);
    for (let slices = 1; ; slices++) {
      const stop = this.machine.enter();
      this.#talk.turned();
      if (stop.kind === 'exited' && (stop.status & 0xff) === 0) this.#talk.exited(stop.status >> 8);
      if (this.#answer !== undefined && this.#order.over) return this.#answer;
      if (this.#damage !== undefined) throw this.#damage;
      if (stop.kind === 'failed') throw failureOf(stop.failure);
      if (stop.kind === 'exited') {
        if (stop.described)
          this.#output.add(Buffer.from(`${crashLine(this.machine, stop.status)}\n`));
        throw exitedError(stop.status, this.#output.text);
      }
      const now = performance.now();
      if (now >= deadlineMs) {
        throw new MayflyError('MAYFLY_GUEST_TIMEOUT', 'the function took longer than it may');
      }
      if (stopped()) throw new MayflyError('MAYFLY_ABORTED', 'the caller went away');
      if (stop.kind === 'idle') await parked(stop.deadline, deadlineMs);
      else if (slices % TURN_SLICES === 0) await nextTurn();
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
    this.#denials = [];
    this.rewoundPages = this.#rewinder.rewind();
    if (this.#rewinder.guardWritten || this.#rewinder.overBudget) return false;
    const { vcpu, devices } = this.template.state;
    if (NESTED_PAGING) resetVcpu(this.machine.vcpu, vcpu);
    if (vcpu.xsave !== undefined) this.machine.vcpu.setXsave(vcpu.xsave);
    this.machine.bus.restore(devices);
    this.#talk.reset();
    if (!this.#output.empty) this.#output = new OutputTail();
    this.#answer = undefined;
    this.#order = new AnswerOrder();
    this.#chunks = [];
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

  #deny(text: string): void {
    this.#denials.push({ level: 'warn', time: Date.now(), text });
  }

  #add(frame: Frame): void {
    if (this.#order.over) return;
    const part = this.#order.take(frame.head);
    if (part === 'error' && this.#answer !== undefined) throw answerBroken(frame.head);
    if (part === 'chunk') this.#chunks.push(frame.body);
    else if (part === 'head' || part === 'error') this.#answer = frame;
    if (!this.#order.over) return;
    if (this.#answer && this.#chunks.length > 0) {
      this.#answer.body = Buffer.concat([this.#answer.body, ...this.#chunks]);
    }
    this.machine.satisfied = true;
  }
}

function failureOf(failure: Failure): MayflyError {
  return new MayflyError(failure.code, failure.message, { cause: failure.detail });
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

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Until the guest's own deadline (CLOCK_MONOTONIC ns) or the invocation's, at most 50 ms at a time. */
function parked(wake: bigint | undefined, deadlineMs: number): Promise<void> {
  const untilWake =
    wake === undefined ? 50 : Math.max(0, Number(wake - process.hrtime.bigint()) / 1e6);
  const ms = Math.min(untilWake, Math.max(0, deadlineMs - performance.now()), 50);
  return new Promise((resolve) => setTimeout(resolve, ms));
}
