/** What KVM makes of the host's processor. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import { KvmError } from '../kvm/index.js';
import { missingCpuFeatures, readCpuinfo } from './cpuinfo.js';

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
