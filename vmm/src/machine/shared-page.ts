/** The page that VMM and guest kernel share; see packages/protocol/src/abi.ts. What the guest wrote is checked by its reader. */
import { randomFillSync } from 'node:crypto';
import { abi } from '@mayfly/protocol';

const { layout, shared, boot } = abi;
const BASE = layout.SHARED_GPA;

export interface GuestStats {
  syscalls: number;
  traps: number;
  patchedSites: number;
  blocks: number;
  /** Page-table entries of the program that were written, and exits to flush the TLB after that. */
  tableEdits: number;
  tableFlushes: number;
  threadSwitches: number;
}

export class SharedPage {
  readonly #view: DataView;
  readonly #entropy: Uint8Array;
  /** On the boot page, which the guest kernel reads it from. */
  readonly #hostname: Uint8Array;

  constructor(ram: ArrayBuffer) {
    this.#view = new DataView(ram, BASE, 4096);
    this.#entropy = new Uint8Array(ram, BASE + shared.entropy, 64);
    this.#hostname = new Uint8Array(ram, layout.BOOT_GPA + boot.hostname, 64);
  }

  /**
   * Gives the guest what no other machine has. Must happen before its first instruction in this life.
   * `monoOffset` in ns is added to the guest's CLOCK_MONOTONIC.
   */
  newGeneration(generation: number, pid: number, monoOffset = 0n): void {
    this.#view.setBigUint64(shared.mono_offset, BigInt.asUintN(64, monoOffset), true);
    this.#view.setBigUint64(shared.generation, BigInt(generation), true);
    this.#view.setBigUint64(shared.pid, BigInt(pid), true);
    randomFillSync(this.#entropy);
  }

  /** Checked by the caller; NUL-terminated here. */
  setHostname(name: string): void {
    this.#hostname.fill(0).set(Buffer.from(name).subarray(0, 63));
  }

  /** As the guest has set it: any text. */
  get hostname(): string {
    const bytes = Buffer.from(this.#hostname);
    const end = bytes.indexOf(0);
    return bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
  }

  get pid(): number {
    return Number(this.#view.getBigUint64(shared.pid, true));
  }

  /** ns that were added to the host's CLOCK_MONOTONIC at the last newGeneration(). */
  get monoOffset(): bigint {
    return BigInt.asIntN(64, this.#view.getBigUint64(shared.mono_offset, true));
  }
  get kernelStart(): bigint {
    return this.#view.getBigUint64(shared.kernel_start, true);
  }
  get kernelEnd(): bigint {
    return this.#view.getBigUint64(shared.kernel_end, true);
  }
  get upcallEntry(): bigint {
    return this.#view.getBigUint64(shared.upcall_entry, true);
  }
  get kstackTop(): bigint {
    return this.#view.getBigUint64(shared.kstack_top, true);
  }
  /** CLOCK_MONOTONIC ns, or undefined when the guest waits for input alone. */
  get idleDeadline(): bigint | undefined {
    const deadline = this.#view.getBigUint64(shared.idle_deadline, true);
    return deadline === 0xffffffffffffffffn ? undefined : deadline;
  }
  setPreemptPending(): void {
    this.#view.setUint32(shared.preempt_pending, 1, true);
  }

  /** TCP ports that the guest listened on when it last refused a connection: what it says, sorted. */
  get listeningPorts(): number[] {
    const ports = Array.from({ length: 16 }, (_, i) =>
      this.#view.getUint32(shared.net_ports + 4 * i, true),
    );
    return ports.filter((port) => port > 0 && port <= 0xffff).sort((a, b) => a - b);
  }

  get panicMessage(): string {
    const bytes = new Uint8Array(this.#view.buffer, BASE + shared.panic_message, 256);
    const end = bytes.indexOf(0);
    return Buffer.from(bytes.subarray(0, end < 0 ? 256 : end)).toString('latin1');
  }
  /** A 64-bit field by its name, as the guest or the VMM left it. */
  field(name: keyof typeof shared): bigint {
    return this.#view.getBigUint64(shared[name], true);
  }
  /** For the fields that the VMM writes while the guest stands still. */
  setField(name: 'debug_only' | 'debug_signal' | 'debug_write', value: bigint): void {
    this.#view.setBigUint64(shared[name], value, true);
  }
  /** The program stops with PORT_STOP at the next opportunity. */
  requestStop(): void {
    this.#view.setUint32(shared.debug_request, 1, true);
  }

  get stats(): GuestStats {
    const number = (offset: number) => Number(this.#view.getBigUint64(offset, true));
    return {
      syscalls: number(shared.stat_syscalls),
      traps: number(shared.stat_traps),
      patchedSites: number(shared.stat_patched),
      blocks: number(shared.stat_blocks),
      tableEdits: number(shared.stat_edits),
      tableFlushes: number(shared.stat_flushes),
      threadSwitches: number(shared.stat_switches),
    };
  }
}
