/** What the guest kernel uses of a processor without asking. */
import { readFileSync } from 'node:fs';
import { MayflyError } from '@mayfly/protocol';

/** Names as in /proc/cpuinfo. KVM refuses the control register bits that a missing one would need. */
const REQUIRED = ['lm', 'nx', 'syscall', 'fsgsbase', 'xsave'] as const;

/** Those of the required features that are not among the flags of the first processor in `cpuinfo`. */
export function missingCpuFeatures(cpuinfo: string): string[] {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.split(' '));
  return REQUIRED.filter((name) => !flags.has(name));
}

/** Why a vCPU could not be started: MAYFLY_HOST_CPU where the processor lacks something, else `error` itself. */
export function startError(
  error: unknown,
  cpuinfo = readFileSync('/proc/cpuinfo', 'utf8'),
): unknown {
  const missing = missingCpuFeatures(cpuinfo);
  if (missing.length === 0) return error;
  const message = `the processor lacks what guests need: ${missing.join(', ')}`;
  return new MayflyError('MAYFLY_HOST_CPU', message, { cause: error });
}
