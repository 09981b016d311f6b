import { native } from './native.js';

/**
 * Takes flock(2)'s exclusive lock of an open file or folder, of all processes and threads; closing the descriptor ends it, as does
 * the end of the process. False: somebody else has it. Throws KvmError MAYFLY_KVM_IOCTL where the file system has no locks.
 */
export function tryLock(fd: number): boolean {
  return native.fileLock(fd);
}
