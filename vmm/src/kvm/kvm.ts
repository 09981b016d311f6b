import { type KvmHandle, native } from './native.js';
import { Vm } from './vm.js';

/** The KVM device of this host. */
export class Kvm {
  readonly #handle: KvmHandle;

  private constructor(handle: KvmHandle) {
    this.#handle = handle;
  }

  /** Throws MAYFLY_KVM_MISSING or MAYFLY_KVM_PERMISSION where there is no usable KVM. */
  static open(path = '/dev/kvm'): Kvm {
    return new Kvm(native.kvmOpen(path));
  }

  /** KVM_CHECK_EXTENSION: 0 if this KVM does not have the capability `extension`, else its value. */
  checkExtension(extension: number): number {
    return native.kvmCheckExtension(this.#handle, extension);
  }

  /** What CPUID tells guests: an array of struct kvm_cpuid_entry2. At first KVM_GET_SUPPORTED_CPUID. */
  get cpuid(): ArrayBuffer {
    return native.kvmGetCpuid(this.#handle);
  }

  /** For vCPUs that are made from now on. */
  set cpuid(entries: ArrayBuffer) {
    native.kvmSetCpuid(this.#handle, entries);
  }

  createVm(): Vm {
    return new Vm(native.kvmCreateVm(this.#handle));
  }

  /** VMs that exist already live on. */
  close(): void {
    native.close(this.#handle);
  }
}
