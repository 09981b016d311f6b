import type { GuestMemory } from './guest-memory.js';
import { native, type VmHandle } from './native.js';
import { Vcpu } from './vcpu.js';

export interface SlotOptions {
  /** The part of the memory to use: bytes, multiples of 4096; all of it by default. */
  readonly offset?: number;
  readonly size?: number;
  /** The guest's writes become MMIO exits. Default: whether the memory is read-only. */
  readonly readonly?: boolean;
}

/** A KVM VM. It keeps its memories alive; close() closes its vCPUs too. */
export class Vm {
  readonly #handle: VmHandle;
  readonly #vcpus = new Set<Vcpu>();

  /** Use Kvm.createVm(). */
  constructor(handle: VmHandle) {
    this.#handle = handle;
  }

  /** Puts memory at the guest-physical address `gpa`, for the VM's whole life. Slots are 0 to 127. */
  setMemory(slot: number, gpa: number, memory: GuestMemory, options: SlotOptions = {}): void {
    const { offset = 0, readonly = memory.readonly } = options;
    const { size = memory.size - offset } = options;
    native.vmSetMemory(this.#handle, slot, gpa, memory.handle, offset, size, readonly);
  }

  /** From now on RDMSR and WRMSR fault in the guest, at any privilege level. Vcpu.setMsrs() works as before. */
  denyMsrs(): void {
    native.vmDenyMsrs(this.#handle);
  }

  createVcpu(id: number): Vcpu {
    const vcpu = new Vcpu(native.vcpuCreate(this.#handle, id), () => this.#vcpus.delete(vcpu));
    this.#vcpus.add(vcpu);
    return vcpu;
  }

  close(): void {
    for (const vcpu of this.#vcpus) vcpu.close();
    native.close(this.#handle);
  }
}
