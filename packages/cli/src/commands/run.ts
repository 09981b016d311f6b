/** mayfly run: a Linux program of this host in a machine of its own. Exit codes are those of timeout(1) and the shell. */
import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import type { RunResult } from '@mayfly/vmm/run';
import type { Command } from 'commander';
import { type Io, printError } from '../output.js';
import { parseDuration, parseEnv, parseSize } from '../units.js';

/** As timeout(1): the tool itself failed, the program cannot be executed, there is no such program. */
export const EXIT = { usage: 2, failure: 125, notExecutable: 126, notFound: 127 } as const;

const MEMORY_BYTES_DEFAULT = 256 * 2 ** 20;
const PATH_DEFAULT = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

interface RunFlags {
  timeout?: number;
  memory: number;
  strace?: boolean;
  stats?: boolean;
  env?: Record<string, string>;
  cwd?: string;
}

export function addRun(program: Command, io: Io): void {
  program
    .command('run')
    .description('Run a Linux program of this host in a machine of its own.')
    .argument('<program>', 'a path, or a name to be found in PATH')
    .argument('[args...]')
    .option('--timeout <duration>', 'stop it after this time, for example 10s', parseDuration)
    .option('--memory <size>', 'guest memory', parseSize, MEMORY_BYTES_DEFAULT)
    .option('--strace', 'show its system calls on stderr')
    .option('--stats', 'print what the machine did on stderr, as JSON, at the end')
    .option('--env <key=value>', 'environment variable (repeatable)', parseEnv)
    .option('--cwd <dir>', 'working directory in the guest')
    .passThroughOptions()
    .addHelpText('after', RUN_HELP)
    .action(async (name: string, args: string[], flags: RunFlags) => {
      process.exitCode = await run(name, args, flags, io);
    });
}

const RUN_HELP = `
Options for mayfly come before the program; \`--\` ends them.

Exit codes: the program's own; 128+n if signal n ended it; 124 after --timeout;
125 if Mayfly failed; 126 if the program cannot be executed; 127 if it is not found.

Examples:
  mayfly run -- busybox uname -a
  mayfly run --timeout 10s --env LANG=C -- node -e 'console.log(1)'
`;

async function run(name: string, args: string[], flags: RunFlags, io: Io): Promise<number> {
  const found = findProgram(name, io.env.PATH ?? PATH_DEFAULT);
  if ('exitCode' in found) {
    printError(io, found.error);
    return found.exitCode;
  }
  try {
    // Loaded here, so that the other commands need no native addon.
    const { runProgram } = await import('@mayfly/vmm/run');
    const { exitCode, stats } = await runProgram({
      program: found.path,
      args,
      env: { PATH: PATH_DEFAULT, HOME: '/root', ...flags.env },
      ...(flags.cwd !== undefined && { cwd: flags.cwd }),
      memoryBytes: flags.memory,
      ...(flags.timeout !== undefined && { timeoutMs: flags.timeout }),
      strace: flags.strace ?? false,
      stdin: process.stdin,
      stdout: (chunk) => process.stdout.write(chunk),
      stderr: (chunk) => process.stderr.write(chunk),
    });
    if (flags.stats) io.stderr(statsText(stats));
    return exitCode;
  } catch (error) {
    printError(io, error);
    return exitCodeOf(error);
  } finally {
    process.stdin.unref?.();
  }
}

/** What a shell would answer for the same mistake. */
const EXIT_CODES: Readonly<Record<string, number>> = {
  MAYFLY_ELF_NOT_ELF: EXIT.notExecutable,
  MAYFLY_ELF_WRONG_ARCH: EXIT.notExecutable,
  MAYFLY_ELF_DAMAGED: EXIT.notExecutable,
  MAYFLY_ELF_NO_INTERPRETER: EXIT.notFound,
  MAYFLY_ELF_NO_LIBRARY: EXIT.notFound,
  MAYFLY_BAD_MEMORY_SIZE: EXIT.usage,
  MAYFLY_BAD_ARGUMENT: EXIT.usage,
  MAYFLY_ARGUMENTS_TOO_LARGE: EXIT.notExecutable,
};

function exitCodeOf(error: unknown): number {
  return (error instanceof MayflyError ? EXIT_CODES[error.code] : undefined) ?? EXIT.failure;
}

function statsText(stats: RunResult['stats']): string {
  const plain = (_key: string, value: unknown) =>
    typeof value === 'bigint' ? Number(value) : value;
  return `${JSON.stringify(stats, plain)}\n`;
}

type Found = { path: string } | { error: MayflyError; exitCode: number };

/** As execvp(3) looks for programs. */
export function findProgram(name: string, path: string): Found {
  const candidates = name.includes('/')
    ? [resolve(name)]
    : path.split(':').map((dir) => resolve(dir, name));
  const files = candidates.filter(isFile);
  const executable = files.find(isExecutable);
  if (executable !== undefined) return { path: executable };
  const [blocked] = files;
  if (blocked !== undefined) {
    const error = new MayflyError('MAYFLY_PROGRAM_NOT_EXECUTABLE', `${blocked} is not executable`);
    return { error, exitCode: EXIT.notExecutable };
  }
  const where = name.includes('/') ? '' : ' in PATH';
  const error = new MayflyError('MAYFLY_PROGRAM_UNKNOWN', `there is no program ${name}${where}`);
  return { error, exitCode: EXIT.notFound };
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
