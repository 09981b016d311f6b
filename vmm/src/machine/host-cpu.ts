/** What Mayfly needs of the host's processor, and what KVM makes of it. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import { KvmError } from '../kvm/index.js';

/** What the guest kernel uses without asking: names as in /proc/cpuinfo. KVM refuses the control register bits that a missing one would need. */
const REQUIRED = ['lm', 'nx', 'syscall', 'fsgsbase', 'xsave'] as const;

/** More than /proc/cpuinfo says of one processor. */
const CPUINFO_BYTES = 8192;

/** The start of /proc/cpuinfo, with the first processor: a large host takes milliseconds for the others. */
export function readCpuinfo(): string {
  const fd = openSync('/proc/cpuinfo', 'r');
  try {
    const bytes = Buffer.alloc(CPUINFO_BYTES);
    return bytes.toString('latin1', 0, readSync(fd, bytes));
  } finally {
    closeSync(fd);
  }
}

/** A field of the first processor in the text of proc_cpuinfo(5); '' when it is not there. */
export function cpuField(cpuinfo: string, name: string): string {
  return new RegExp(`^${name}\\s*:(.*)$`, 'm').exec(cpuinfo)?.[1]?.trim() ?? '';
}

/** Those of the required features that are not among the flags of the first processor in `cpuinfo`. */
export function missingCpuFeatures(cpuinfo: string): string[] {
  const flags = new Set(cpuField(cpuinfo, 'flags').split(' '));
  return REQUIRED.filter((name) => !flags.has(name));
}

/**
 * Why a vCPU could not be started: MAYFLY_HOST_CPU where KVM refused it and the processor lacks something, else `error`
 * itself.
 */
export function startError(error: unknown, cpuinfo = readCpuinfo()): unknown {
  const refused = !(error instanceof KvmError) || error.code === 'MAYFLY_KVM_IOCTL';
  const missing = refused ? missingCpuFeatures(cpuinfo) : [];
  if (missing.length === 0) return error;
  const message = `the processor lacks what guests need: ${missing.join(', ')}`;
  return new MayflyError('MAYFLY_HOST_CPU', message, { cause: error });
}

/**
 * Whether the processor itself walks guests' page tables (EPT, nested paging), as kvm_intel and kvm_amd say. Everywhere else
 * KVM shadows them, and does not see what the VMM writes there. `modules`: where sysfs tells of kernel modules.
 */
export function hasNestedPaging(modules = '/sys/module'): boolean {
  return ['kvm_intel/parameters/ept', 'kvm_amd/parameters/npt'].some((parameter) => {
    try {
      return /^[Y1]/.test(readFileSync(join(modules, parameter), 'latin1'));
    } catch {
      return false;
    }
  });
}

/** Of this host. */
export const NESTED_PAGING = hasNestedPaging();
