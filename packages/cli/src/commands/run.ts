/** mayfly run: a Linux program in a machine of its own. Exit codes are those of timeout(1) and the shell. */
import { MayflyError } from '@mayfly/protocol';
import type { RunResult } from '@mayfly/vmm/run';
import type { Command } from 'commander';
import {
  type CapturedOutput,
  capturedOutput,
  type GuestOutput,
  streamedOutput,
} from '../guest-output.js';
import { addNetworkOption, type NetworkFlags, networkOptions } from '../network-option.js';
import { EXIT_PIPE, type Io, printError, printJson } from '../output.js';
import { addProgramOptions, type ProgramFlags, programSpec } from '../program-options.js';
import { Progress } from '../progress.js';
import { addPublishOption, openWayIn, type PublishFlags } from '../publish-option.js';
import { parsePort } from '../units.js';

/** As timeout(1): the tool itself failed, the program cannot be executed, there is no such program. */
export const EXIT = { usage: 2, failure: 125, notExecutable: 126, notFound: 127 } as const;

interface RunFlags extends ProgramFlags, NetworkFlags, PublishFlags {
  strace?: boolean;
  stats?: boolean;
  json?: boolean;
  core?: string;
  gdb?: number;
}

export function addRun(program: Command, io: Io): void {
  const command = program
    .command('run')
    .description('Run a Linux program, of this host or of an image, in a machine of its own.')
    .argument('[program]', 'a path, or a name to be found in PATH')
    .argument('[args...]');
  addPublishOption(addNetworkOption(addProgramOptions(command)))
    .option('--core <file>', 'write a core file when a signal or --timeout ends it')
    .option('--gdb <port>', 'wait for gdb on this port of 127.0.0.1', parsePort)
    .option('--strace', 'show its system calls on stderr')
    .option('--stats', 'print what the machine did on stderr, as JSON, at the end')
    .option('--json', 'print one JSON document at the end, with all output in it')
    .passThroughOptions()
    .addHelpText('after', RUN_HELP)
    .action(async (name: string | undefined, args: string[], flags: RunFlags, command: Command) => {
      if (name === undefined && flags.image.length === 0) {
        command.error("error: missing required argument 'program'", { exitCode: EXIT.usage });
      }
      process.exitCode = await run(name, args, flags, io);
    });
}

const RUN_HELP = `
Options for mayfly come before the program; \`--\` ends them.

The guest does not see this host's files. Without --image it has the program with its
libraries and data (an interpreter's own library, certificates, time zones), and nothing of
the current folder: bring that with --dir .:/work --cwd /work. --dir copies the folder when
the run starts; what the guest writes there stays in the guest and is gone at the end.

--image takes a name or digest of \`mayfly image ls\`, or a path: an EROFS image, a folder, a
tar file, an OCI image layout, an archive of \`docker save\`. The program is looked up in the
image; without one, the image's own entry point is run.

Its network is closed but for what --allow-net opens: example.com:443, *.example.com,
10.0.0.0/8:80,443, [2001:db8::/32]:443, or * for every public address. Its 127.0.0.1 is its
own; this host's is host.mayfly, as in --allow-net host.mayfly:5432. What is refused is told
on stderr. See docs/networking.md.

--publish 8080:80 leads TCP clients of port 8080 of this host's 127.0.0.1 to port 80 of the
guest. They may come before its server listens: they wait for it, for up to a minute.
--publish 0:80 takes a free port and says on stderr which; 0.0.0.0:8080:80 lets others in, too.

The program runs as root of its guest, or as the user that the image names; --user says
otherwise: a name or number of the guest's /etc/passwd, and :GROUP of its /etc/group, as in
--user 1000:1000. A folder of --dir belongs to that user. Of this host's environment it gets
nothing; PATH, HOME (that of the user) and LANG (C.UTF-8) are set, then the image's variables,
then those of --env.

--json prints {exitCode, signal?, stdout, stdoutEncoding, stderr, stderrEncoding, stats?,
error?}; an encoding is "utf8", or "base64" for output that is not UTF-8.

Exit codes: the program's own; 128+n if signal n ended it; 124 after --timeout;
2 for a command line that makes no sense; 125 if Mayfly failed;
126 if the program cannot be executed; 127 if it is not found.

Examples:
  mayfly run -- busybox uname -a
  mayfly run --timeout 10s --env LANG=C -- node -e 'console.log(1)'
  mayfly run --dir .:/work --cwd /work -- python3 app.py
  mayfly run --image alpine.tar -- /bin/busybox ls /
  mayfly run --allow-net example.com:443 -- curl -s https://example.com/
  mayfly run --publish 6379:6379 -- redis-server
`;

async function run(
  name: string | undefined,
  args: string[],
  flags: RunFlags,
  io: Io,
): Promise<number> {
  if (flags.json === true) return runForJson(name, args, flags, io);
  try {
    const output = streamedOutput(process.stdout, process.stderr);
    const { exitCode, stats } = await runIn(name, args, flags, output, io);
    if (flags.stats) io.stderr(statsText(stats));
    return exitCode;
  } catch (error) {
    return printFailure(error, io);
  }
}

/** Tells what went wrong with a run whose output went to the streams of this process; the exit code. */
export function printFailure(error: unknown, io: Io): number {
  if (isClosedOutput(error)) return EXIT_PIPE;
  printError(io, error);
  if (error instanceof MayflyError && typeof error.cause === 'string') {
    io.stderr(`${error.cause}\n`);
  }
  return exitCodeOf(error);
}

async function runForJson(
  name: string | undefined,
  args: string[],
  flags: RunFlags,
  io: Io,
): Promise<number> {
  const output = capturedOutput();
  const document = await outcomeDocument(output, () => runIn(name, args, flags, output, io));
  printJson(io, document);
  return document.exitCode;
}

interface EndDocument {
  signal: number | undefined;
  stats: unknown;
  error: { code: string; message: string };
}

/** How a run ended, with its output, as the JSON of `mayfly run` and `mayfly clone` has it. */
export async function outcomeDocument(
  output: CapturedOutput,
  run: () => Promise<{ exitCode: number; signal?: number; stats: object }>,
) {
  const end: { exitCode: number } & Partial<EndDocument> = await run().then(
    ({ exitCode, signal, stats }) => ({ exitCode, signal, stats: JSON.parse(statsText(stats)) }),
    (error: unknown) => ({ exitCode: exitCodeOf(error), error: errorDocument(error) }),
  );
  const { stdout, stderr } = output.captured();
  const { exitCode, signal, stats, error } = end;
  return {
    exitCode,
    signal,
    stdout: stdout.text,
    stdoutEncoding: stdout.encoding,
    stderr: stderr.text,
    stderrEncoding: stderr.encoding,
    stats,
    error,
  };
}

function errorDocument(error: unknown) {
  return {
    code: error instanceof MayflyError ? error.code : 'MAYFLY_INTERNAL',
    message: error instanceof Error ? error.message : String(error),
  };
}

async function runIn(
  name: string | undefined,
  args: string[],
  flags: RunFlags,
  output: GuestOutput,
  io: Io,
): Promise<RunResult> {
  const progress = new Progress(process.stderr);
  // Loaded here, so that the other commands start sooner and need no native addon.
  const { runProgram } = await import('@mayfly/vmm/run');
  const network = await networkOptions(flags, io);
  const wayIn = await openWayIn(flags, io);
  try {
    const spec = await programSpec(name, args, flags, io, (step) => progress.show(step));
    progress.end();
    return await runProgram({
      ...spec,
      ...(flags.timeout !== undefined && { timeoutMs: flags.timeout }),
      strace: flags.strace ?? false,
      ...(flags.gdb !== undefined && { gdbPort: flags.gdb }),
      onDebugger: (port) => io.stderr(`mayfly: waiting for gdb: target remote :${port}\n`),
      ...(flags.core !== undefined && { coreFile: flags.core }),
      stdin: process.stdin,
      ...output,
      network,
      ...(wayIn && { wayIn }),
      onCrash: (report) => io.stderr(`mayfly: ${report}\n`),
    });
  } finally {
    wayIn?.close();
    progress.end();
    process.stdin.unref?.();
  }
}

/** A program whose output nobody reads ends quietly, as the others in a pipe do. */
function isClosedOutput(error: unknown): boolean {
  if (!(error instanceof MayflyError) || error.code !== 'MAYFLY_OUTPUT_CLOSED') return false;
  return (error.cause as NodeJS.ErrnoException | undefined)?.code === 'EPIPE';
}

/** What a shell would answer for the same mistake. */
const EXIT_CODES: Readonly<Record<string, number>> = {
  MAYFLY_PROGRAM_UNKNOWN: EXIT.notFound,
  MAYFLY_PROGRAM_NOT_EXECUTABLE: EXIT.notExecutable,
  MAYFLY_USER_UNKNOWN: EXIT.notExecutable,
  MAYFLY_ELF_NOT_ELF: EXIT.notExecutable,
  MAYFLY_ELF_WRONG_ARCH: EXIT.notExecutable,
  MAYFLY_ELF_DAMAGED: EXIT.notExecutable,
  MAYFLY_ELF_NO_INTERPRETER: EXIT.notFound,
  MAYFLY_ELF_NO_LIBRARY: EXIT.notFound,
  MAYFLY_ARGUMENTS_TOO_LARGE: EXIT.notExecutable,
  MAYFLY_BAD_MEMORY_SIZE: EXIT.usage,
  MAYFLY_BAD_ARGUMENT: EXIT.usage,
  MAYFLY_NETWORK_RULE: EXIT.usage,
  MAYFLY_TOO_MANY_IMAGES: EXIT.usage,
  MAYFLY_IMAGE_NO_ENTRY: EXIT.usage,
  MAYFLY_IMAGE_NO_IMAGE: EXIT.usage,
  MAYFLY_IMAGE_NO_FILE: EXIT.usage,
};

function exitCodeOf(error: unknown): number {
  return (error instanceof MayflyError ? EXIT_CODES[error.code] : undefined) ?? EXIT.failure;
}

/** One line of JSON. */
export function statsText(stats: object): string {
  const plain = (_key: string, value: unknown) =>
    typeof value === 'bigint' ? Number(value) : value;
  return `${JSON.stringify(stats, plain)}\n`;
}
