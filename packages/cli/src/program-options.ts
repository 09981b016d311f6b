/** The options that say which program is run in a machine, and how: for every command that boots one. */
import type { ImportProgress } from '@mayfly/image';
import { MayflyError } from '@mayfly/protocol';
import { type Command, Option } from 'commander';
import type { Io } from './output.js';
import type { FolderMapping } from './run-root.js';
import { parseDir, parseDuration, parseEnv, parseSize, parseUser, repeated } from './units.js';

const MEMORY_BYTES_DEFAULT = 256 * 2 ** 20;

export interface ProgramFlags {
  image: string[];
  dir: FolderMapping[];
  memory: number;
  timeout?: number;
  env?: Record<string, string>;
  cwd?: string;
  user?: string;
}

export function addProgramOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--image <image>', 'run a program of this image (repeatable, bottom first)')
        .argParser(repeated)
        .default([], 'none: a program of this host'),
    )
    .addOption(
      new Option('--dir <host:guest>', 'copy a folder of this host into the guest (repeatable)')
        .argParser(parseDir)
        .default([], 'none'),
    )
    .option('--timeout <duration>', 'stop it after this time, for example 10s', parseDuration)
    .addOption(
      new Option('--memory <size>', 'guest memory')
        .argParser(parseSize)
        .default(MEMORY_BYTES_DEFAULT, '256M'),
    )
    .option('--env <key=value>', 'environment variable (repeatable)', parseEnv)
    .option('--cwd <dir>', 'working directory in the guest')
    .option('--user <user[:group]>', 'run it as this user, by name or number', parseUser);
}

/** What runProgram() and bootProgram() want to know of the program. Makes images that are not there yet. */
export async function programSpec(
  name: string | undefined,
  args: readonly string[],
  flags: ProgramFlags,
  io: Io,
  onProgress: (progress: ImportProgress) => void,
) {
  const { imageRoot } = await import('./run-root.js');
  const { findHostProgram, PATH_DEFAULT } = await import('@mayfly/image');
  const root = await imageRoot({
    images: flags.image,
    dirs: flags.dir,
    user: flags.user,
    hostProgram: () => findHostProgram(name!, io.env.PATH ?? PATH_DEFAULT),
    onProgress,
  });
  const [program, ...rest] = name === undefined ? root.command : [root.program ?? name, ...args];
  if (program === undefined) {
    const message = 'the image names no program to start; name one after --';
    throw new MayflyError('MAYFLY_IMAGE_NO_ENTRY', message);
  }
  const cwd = flags.cwd ?? root.cwd;
  const { user } = root;
  const HOME = user?.home ?? '/root';
  return {
    program,
    args: rest,
    startsAsItIs: root.startsAsItIs,
    images: root.images,
    env: { PATH: PATH_DEFAULT, HOME, LANG: 'C.UTF-8', ...root.env, ...flags.env },
    ...(cwd !== undefined && { cwd }),
    ...(user && { user }),
    memoryBytes: flags.memory,
  };
}
