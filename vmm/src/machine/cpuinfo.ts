/** What /proc/cpuinfo says, and what Mayfly needs of it. Without the native addon, which a host may be without. */
import { closeSync, openSync, readSync } from 'node:fs';

/** What the guest kernel uses without asking: names as in /proc/cpuinfo. Mostly, KVM refuses the control register bits that a missing one would need. */
export const REQUIRED: readonly string[] = ['lm', 'nx', 'syscall', 'fsgsbase', 'xsave'];

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
