/** Whether this host runs guests: the smallest one tries what no guest does without. */
import { abi, MayflyError } from '@mayfly/protocol';
import { bootMachine } from './factory.js';
import { KernelImage } from './kernel-image.js';

const { layout, ports } = abi;

const MEMORY_BYTES = 32 << 20;
const STATUS = 0x4d59;
/** The first takes long on slow hosts, and is over before it began. */
const SLICES_MAX = 100;

/** Sets the base of FS at CPL 3, reads it, and ends with it. */
const PROGRAM = [
  ...[0xb8, STATUS & 0xff, STATUS >> 8, 0, 0], // mov eax, STATUS
  ...[0xf3, 0x48, 0x0f, 0xae, 0xd0], // wrfsbase rax
  ...[0x31, 0xc0], // xor eax, eax
  ...[0xf3, 0x48, 0x0f, 0xae, 0xc0], // rdfsbase rax
  ...[0xba, ports.PORT_EXIT & 0xff, ports.PORT_EXIT >> 8, 0, 0], // mov edx, PORT_EXIT
  ...[0xef, 0xeb, 0xfe], // out dx, eax; jmp to itself
];

/**
 * Makes a machine and runs a few instructions in the place of its kernel. What /proc/cpuinfo says is not enough: where KVM works
 * without VT-x and SVM, its kernel may hide what guests have, for they run on the processor as the host below has set it up.
 * Throws MAYFLY_HOST_CPU, MAYFLY_KERNEL_MISSING, MAYFLY_KVM_*.
 */
export function tryHost(): void {
  const machine = bootMachine({
    program: '',
    argv: [],
    env: {},
    cwd: '/',
    images: [],
    memoryBytes: MEMORY_BYTES,
    console: { stdout() {}, stderr() {} },
  });
  try {
    const entry = KernelImage.default().entry - layout.WINDOW_VA;
    new Uint8Array(machine.memory.buffer).set(PROGRAM, entry);
    let stop = machine.enter();
    for (let slice = 1; stop.kind === 'slice' && slice < SLICES_MAX; slice++)
      stop = machine.enter();
    if (stop.kind === 'exited' && stop.status === STATUS) return;
    const what = 'the processor does not set the base of FS at CPL 3 (FSGSBASE)';
    throw new MayflyError('MAYFLY_HOST_CPU', what);
  } finally {
    machine.close();
  }
}
