/** Runs one Linux program, of the host or of images, in a machine of its own, as if it ran here. */
import type { ProgramStart, WriteOptions } from '@mayfly/image';
import type { BootUser } from './boot.js';
import {
  type DriveOptions,
  type DriveStats,
  driveMachine,
  type RunResult,
} from './drive-machine.js';
import { bootMachine } from './factory.js';
import type { Machine } from './machine.js';
import { programRoot } from './program-root.js';

export { driveMachine, openWayOut, type RunResult } from './drive-machine.js';

export interface RunOptions extends DriveOptions {
  /** Absolute path of the program on the host; with `images`, a path in them or a name to be found in PATH. */
  program: string;
  args: readonly string[];
  /** The program is known to be an ELF file at that path of the images: they are not searched for it. */
  startsAsItIs?: boolean;
  env: Readonly<Record<string, string>>;
  cwd?: string;
  /** Absent: root. */
  user?: BootUser;
  memoryBytes: number;
  strace?: boolean;
  /** Paths of EROFS images, bottom first. Absent: an image of the host program with what it needs is built. */
  images?: readonly string[];
  /** Where built images are kept. */
  imageDir?: string;
  /** Told how far the building of an image is, in bytes. */
  onBuild?: WriteOptions['onProgress'];
  stdout(chunk: Uint8Array): void;
  stderr(chunk: Uint8Array): void;
}

export interface RunStats extends DriveStats {
  imageMicros: number;
  createMicros: number;
}

const now = () => performance.now() * 1000;

/**
 * Throws MayflyError for what the host finds wrong (MAYFLY_ELF_*, MAYFLY_PROGRAM_*, MAYFLY_IMAGE_*, MAYFLY_KVM_*,
 * MAYFLY_BAD_MEMORY_SIZE, MAYFLY_NETWORK_RULE, MAYFLY_LISTEN) and for a guest that broke (MAYFLY_GUEST_*), with the
 * report in `cause`.
 */
export async function runProgram(options: RunOptions): Promise<RunResult<RunStats>> {
  const { machine, start, imageMicros, createMicros } = await bootProgram(options);
  try {
    const { stats, ...end } = await driveMachine(machine, start, options);
    return { ...end, stats: { ...stats, imageMicros, createMicros } };
  } finally {
    machine.close();
  }
}

export interface Booted {
  machine: Machine;
  start: ProgramStart;
  /** Paths, bottom first. */
  images: readonly string[];
  imageMicros: number;
  createMicros: number;
}

export type BootOptions = Omit<RunOptions, keyof DriveOptions> &
  Pick<DriveOptions, 'stdin' | 'gdbPort'>;

/** A machine about to start the program. Throws as runProgram() does for what the host finds wrong. */
export async function bootProgram(options: BootOptions): Promise<Booted> {
  const started = now();
  const { images, start } = await programRoot(options);
  const built = now();
  const machine = bootMachine({
    ...start,
    env: options.env,
    cwd: options.cwd ?? '/',
    ...(options.user && { user: options.user }),
    images,
    memoryBytes: options.memoryBytes,
    console: {
      stdout: options.stdout,
      stderr: options.stderr,
      needInput: () => void options.stdin?.resume(),
    },
    strace: options.strace ?? false,
    verbose: options.strace ?? false,
    debug: options.gdbPort !== undefined,
  });
  return { machine, start, images, imageMicros: built - started, createMicros: now() - built };
}
