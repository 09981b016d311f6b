/** What the guest kernel uses of a processor without asking. */
import { readFileSync } from 'node:fs';
import { MayflyError } from '@mayfly/protocol';
import { KvmError } from '../kvm/index.js';

/** Names as in /proc/cpuinfo. KVM refuses the control register bits that a missing one would need. */
const REQUIRED = ['lm', 'nx', 'syscall', 'fsgsbase', 'xsave'] as const;

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
export function startError(
  error: unknown,
  cpuinfo = readFileSync('/proc/cpuinfo', 'utf8'),
): unknown {
  const refused = !(error instanceof KvmError) || error.code === 'MAYFLY_KVM_IOCTL';
  const missing = refused ? missingCpuFeatures(cpuinfo) : [];
  if (missing.length === 0) return error;
  const message = `the processor lacks what guests need: ${missing.join(', ')}`;
  return new MayflyError('MAYFLY_HOST_CPU', message, { cause: error });
}
