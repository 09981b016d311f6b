/** Core files of machines: of programs that died, and of programs that hang. */
import { MayflyError } from '@mayfly/protocol';
import type { Machine } from '../machine/machine.js';
import { writeCore } from './core-file.js';
import { StoppedProcess } from './stopped-process.js';

const SIGSTOP = 19;
/** Turns that a guest gets to reach a point where it can stop: it is asked at each of them. */
const TURNS_MAX = 20;

/**
 * Writes the core file of a program that `signal` killed; of one that still runs if there is no signal: it is stopped, and
 * cannot go on. Returns one line that says what became of it; throws nothing.
 */
export function dumpCore(
  machine: Machine,
  path: string,
  signal: number | undefined,
  argv: readonly string[],
): string {
  if (signal === undefined && !stop(machine)) {
    return 'no core file: the guest kernel does not answer';
  }
  const images = machine.images.reduce((sum, image) => sum + image.bytes.length, 0);
  try {
    const process = new StoppedProcess(machine.shared, machine.addressSpace);
    const bytes = writeCore(process, {
      path,
      signal: signal ?? SIGSTOP,
      argv,
      xcr0: xcr0Of(machine),
      bytesMax: machine.memory.size + images,
    });
    return `core file: ${path} (${(bytes / 2 ** 20).toFixed(1)} MiB of memory)`;
  } catch (error) {
    if (error instanceof MayflyError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

/** struct kvm_xcrs: count, flags, then {number, reserved, value}. */
export function xcr0Of(machine: Machine): bigint {
  return new DataView(machine.vcpu.getXcrs()).getBigUint64(16, true);
}

function stop(machine: Machine): boolean {
  machine.mayStop = true;
  machine.shared.requestStop();
  for (let turn = 0; turn < TURNS_MAX; turn++) {
    const { kind } = machine.enter();
    if (kind === 'stopped') return true;
    if (kind === 'failed' || kind === 'exited') return false;
  }
  return false;
}
