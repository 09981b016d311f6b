import { MayflyError } from '@mayfly/protocol';

/**
 * What the KVM face throws. Codes:
 * - MAYFLY_KVM_MISSING: /dev/kvm does not exist
 * - MAYFLY_KVM_PERMISSION: /dev/kvm may not be opened
 * - MAYFLY_KVM_IOCTL: an ioctl or system call failed; see `syscall` and `errno`
 * - MAYFLY_KVM_ARGUMENT: a wrong argument
 * - MAYFLY_KVM_CLOSED: the object was closed
 * - MAYFLY_KVM_ADDON: the native addon is not built, or was built for another Node.js
 */
export class KvmError extends MayflyError {
  /** The ioctl or system call that failed, for example 'KVM_RUN'; '' if none was made. */
  readonly syscall: string;
  /** Its errno's name, for example 'EFAULT'; '' if none was made. */
  readonly errno: string;

  constructor(code: string, message: string, syscall = '', errno = '') {
    super(code, message);
    this.name = 'KvmError';
    this.syscall = syscall;
    this.errno = errno;
  }
}
