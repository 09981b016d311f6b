/**
 * One microVM: a KVM VM, its memory, its vCPU and its devices, and the run loop.
 *
 * ```
 *            enter()                       exits of the guest
 *   ready ───────────► running ──┬─ OUT idle   ─► serve queues ─► input? go on : stop 'idle'
 *     ▲                          ├─ OUT poll   ─► serve queues, go on
 *     │                          ├─ OUT checkpoint ─► serve queues, stop 'checkpoint'
 *     └── idle, slice ◄──────────┤  slice over ─► upcall, stop 'slice'
 *                                ├─ OUT stop   ─► stop 'stopped', for who asked for it
 *                                ├─ OUT exit   ─► stop 'exited'
 *                                └─ OUT panic, anything unexpected, a device fault ─► stop 'failed'
 * ```
 * Nothing that the guest does throws out of enter().
 */
import { abi, MayflyError } from '@mayfly/protocol';
import { AddressSpace } from '../debug/address-space.js';
import { machineReport, panicReport } from '../debug/crash-report.js';
import type { ImageFile } from '../debug/modules.js';
import {
  exits,
  type GuestMemory,
  regOffsets,
  runPageOffsets,
  type Vcpu,
  type Vm,
} from '../kvm/index.js';
import { GuestFault, type GuestRam, gpa } from '../memory/index.js';
import { MmioBus } from '../virtio/index.js';
import { imageAddresses } from './boot.js';
import { type Devices, devicesOf, serveQueues } from './devices.js';
import type { KernelImage } from './kernel-image.js';
import { exitName } from './report.js';
import { SharedPage } from './shared-page.js';
import { exceptionWaits, INITIAL_RFLAGS, togglePge } from './vcpu-state.js';

const { layout, ports, selectors } = abi;

const at = runPageOffsets;
const RSP = at.regs + regOffsets.rsp;
const RIP = at.regs + regOffsets.rip;
const RFLAGS = at.regs + regOffsets.rflags;
const RFLAGS_TF = 0x100n;

export interface Failure {
  /** Stable: MAYFLY_GUEST_PANIC, MAYFLY_GUEST_FAULT, MAYFLY_UNEXPECTED_EXIT or a device's code. */
  code: string;
  message: string;
  /** Registers or a backtrace, several lines. */
  detail: string;
}

export type Stop =
  | { kind: 'idle'; deadline: bigint | undefined }
  | { kind: 'slice' }
  | { kind: 'checkpoint' }
  | { kind: 'exited'; status: number; described: boolean }
  /** For a debugger: the program stands still and is described, until the machine is entered again. */
  | { kind: 'stopped'; signal: number }
  | { kind: 'failed'; failure: Failure };

const SLICE: Stop = { kind: 'slice' };
/**
 * Full rings that one turn empties. Each exit starts the slice anew, so a guest that writes all the time would never
 * let the receivers of its output have a turn: 16 rings are 1 MiB of console output.
 */
const POLLS_MAX = 16;

export interface MachineParts {
  vm: Vm;
  vcpu: Vcpu;
  memory: GuestMemory;
  images: readonly GuestMemory[];
  imagePaths: readonly string[];
  kernel: KernelImage | undefined;
  devices: Devices;
  ram: GuestRam;
  /** Takes the memory when the machine is closed; without it, memory and images are closed. */
  release?: (memory: GuestMemory) => void;
}

export class Machine {
  readonly vcpu: Vcpu;
  readonly memory: GuestMemory;
  readonly shared: SharedPage;
  readonly devices: Devices;
  readonly bus: MmioBus;
  readonly #parts: MachineParts;
  readonly #ram: GuestRam;
  readonly #run: DataView;
  #polls = 0;
  #closed = false;
  /** Set by whoever has what it wanted: the next idle exit stops enter(), even with input for the guest. */
  satisfied = false;
  /** Set by whoever handles 'stopped'; for everybody else a guest that stops is broken. */
  mayStop = false;

  constructor(parts: MachineParts) {
    this.#parts = parts;
    this.vcpu = parts.vcpu;
    this.memory = parts.memory;
    this.#ram = parts.ram;
    this.devices = parts.devices;
    this.shared = new SharedPage(parts.memory.buffer);
    this.#run = new DataView(parts.vcpu.runPage);
    this.bus = new MmioBus(gpa(layout.MMIO_GPA), layout.MMIO_STRIDE);
    for (const device of devicesOf(parts.devices)) this.bus.add(device);
    this.vcpu.setClock(parts.memory, layout.SHARED_GPA + abi.shared.tsc_base);
  }

  /** Runs the guest until it waits, its slice is over, or it ends. */
  enter(): Stop {
    this.#polls = 0;
    this.devices.vsock.release();
    try {
      for (;;) {
        const reason = this.vcpu.run();
        const stop = reason < 0 ? this.#preempt() : this.#exit(reason);
        if (stop !== undefined) return stop;
      }
    } catch (error) {
      return { kind: 'failed', failure: this.#failureOf(error) };
    }
  }

  /** Until it is entered again, nothing that comes for the guest changes its memory. */
  standStill(): void {
    this.devices.vsock.hold();
  }

  /** Serves all queues; whether the guest was given something. For input that came while the guest was idle. */
  serve(): boolean {
    return serveQueues(this.devices);
  }

  /** undefined: one of another build, of which nothing is known here. */
  get kernel(): KernelImage | undefined {
    return this.#parts.kernel;
  }

  /** The images, bottom first, as the guest has them. */
  get images(): ImageFile[] {
    const { images, imagePaths } = this.#parts;
    const addresses = imageAddresses(images.map((i) => i.size));
    return images.map((image, i) => ({
      path: imagePaths[i] ?? '',
      gpa: addresses[i] ?? 0,
      bytes: new Uint8Array(image.buffer),
    }));
  }

  /** The guest's virtual memory, for those who look at it from outside. */
  get addressSpace(): AddressSpace {
    return new AddressSpace(this.memory.buffer, this.images);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { vcpu, vm, images, release } = this.#parts;
    vcpu.close();
    vm.close();
    this.#ram.close(); // whatever of a device is still under way does not find the next machine here
    if (release !== undefined) {
      release(this.memory);
      return;
    }
    this.memory.close();
    for (const image of images) image.close();
  }

  #exit(reason: number): Stop | undefined {
    if (reason === exits.IO) return this.#portExit();
    if (reason === exits.MMIO) return this.#mmioExit();
    throw new MayflyError('MAYFLY_UNEXPECTED_EXIT', `the vCPU stopped: ${exitName(reason)}`);
  }

  #portExit(): Stop | undefined {
    const isOut = this.#run.getUint8(at.ioDirection) === 1;
    const size = this.#run.getUint8(at.ioSize);
    const port = this.#run.getUint16(at.ioPort, true);
    if (!isOut || size !== 4) {
      throw new GuestFault(
        'MAYFLY_GUEST_BAD_PORT',
        `a ${isOut ? 'write' : 'read'} of ${size} bytes at port 0x${port.toString(16)}`,
      );
    }
    const value = this.#run.getUint32(Number(this.#run.getBigUint64(at.ioDataOffset, true)), true);
    switch (port) {
      case ports.PORT_IDLE:
        return this.serve() && !this.satisfied
          ? undefined
          : { kind: 'idle', deadline: this.shared.idleDeadline };
      case ports.PORT_POLL:
        this.serve();
        return ++this.#polls < POLLS_MAX ? undefined : SLICE;
      case ports.PORT_CHECKPOINT:
        this.serve();
        return { kind: 'checkpoint' };
      case ports.PORT_FLUSH:
        togglePge(this.#run, at.sregs);
        this.vcpu.dirty(false, true);
        return undefined;
      case ports.PORT_EXIT:
        this.serve();
        return {
          kind: 'exited',
          status: value & 0xffff,
          described: (value & abi.exitFlags.EXIT_DESCRIBED) !== 0,
        };
      case ports.PORT_STOP:
        if (!this.mayStop) throw new GuestFault('MAYFLY_GUEST_BAD_PORT', 'nobody asked for a stop');
        this.serve();
        return { kind: 'stopped', signal: value & 0x7f };
      case ports.PORT_PANIC:
        this.serve();
        return { kind: 'failed', failure: this.#panicFailure() };
      default:
        throw new GuestFault('MAYFLY_GUEST_BAD_PORT', `a write to port 0x${port.toString(16)}`);
    }
  }

  #mmioExit(): undefined {
    const address = Number(this.#run.getBigUint64(at.mmioPhysAddr, true));
    const length = this.#run.getUint32(at.mmioLen, true);
    const isWrite = this.#run.getUint8(at.mmioIsWrite) === 1;
    if (!this.bus.contains(gpa(address)) || length > 4) {
      throw new GuestFault(
        'MAYFLY_GUEST_BAD_ADDRESS',
        `nothing answers ${length} bytes at 0x${address.toString(16)}`,
      );
    }
    if (isWrite) {
      this.bus.write(gpa(address), this.#readData(length), length);
    } else {
      this.#run.setUint32(at.mmioData, this.bus.read(gpa(address), length), true);
    }
  }

  #readData(length: number): number {
    if (length === 4) return this.#run.getUint32(at.mmioData, true);
    if (length === 2) return this.#run.getUint16(at.mmioData, true);
    return this.#run.getUint8(at.mmioData);
  }

  /**
   * The slice is over. The guest kernel gets an upcall, as an interrupt would: a frame on the running thread's kernel
   * stack, which is empty while the thread runs its own code. In the kernel's own code it is only told, and while an
   * exception waits, which would be the kernel's at the upcall's entry.
   */
  #preempt(): Stop {
    const rip = this.#run.getBigUint64(RIP, true);
    const { kernelStart, kernelEnd } = this.shared;
    if (
      kernelEnd === 0n ||
      (rip >= kernelStart && rip < kernelEnd) ||
      exceptionWaits(this.vcpu.getEvents())
    ) {
      this.shared.setPreemptPending();
      return SLICE;
    }
    const stack = Number(this.shared.kstackTop) - 40;
    const view = this.#ram.view(gpa(stack - layout.RAM_VA), 40);
    const frame = new DataView(view.buffer, view.byteOffset, 40);
    frame.setBigUint64(0, rip, true);
    frame.setBigUint64(8, BigInt(selectors.USER_CS), true);
    frame.setBigUint64(16, this.#run.getBigUint64(RFLAGS, true), true);
    frame.setBigUint64(24, this.#run.getBigUint64(RSP, true), true);
    frame.setBigUint64(32, BigInt(selectors.USER_DS), true);
    const flags = this.#run.getBigUint64(RFLAGS, true);
    this.#run.setBigUint64(RFLAGS, flags & ~RFLAGS_TF, true); // a single step is the program's
    this.#run.setBigUint64(RIP, this.shared.upcallEntry, true);
    this.#run.setBigUint64(RSP, BigInt(stack), true);
    this.#run.setBigUint64(RFLAGS, INITIAL_RFLAGS, true); // as an interrupt would: DF, TF, NT and AC are the program's
    this.vcpu.dirty(true, false);
    this.serve();
    return SLICE;
  }

  #panicFailure(): Failure {
    const message = `the guest kernel panicked: ${this.shared.panicMessage}`;
    return { code: 'MAYFLY_GUEST_PANIC', message, detail: panicReport(this) };
  }

  #failureOf(error: unknown): Failure {
    const code = error instanceof MayflyError ? error.code : 'MAYFLY_INTERNAL';
    const message = error instanceof Error ? error.message : String(error);
    const detail = machineReport(this, this.vcpu.syncRegs);
    return { code, message, detail };
  }
}
