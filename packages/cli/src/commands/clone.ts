/** mayfly clone: machines that go on from a checkpoint on disk. */
import { setMaxListeners } from 'node:events';
import { Readable } from 'node:stream';
import type { CloneStats, Loaded } from '@mayfly/vmm/checkpoint';
import type { RunResult } from '@mayfly/vmm/run';
import { type Command, InvalidArgumentError } from 'commander';
import { capturedOutput, type GuestOutput, streamedOutput } from '../guest-output.js';
import {
  addCheckpointNetworkOption,
  type CheckpointNetworkFlags,
  checkpointNetwork,
  networkOptions,
} from '../network-option.js';
import { type Io, printJson } from '../output.js';
import { addPublishOption, openWayIn, type PublishFlags } from '../publish-option.js';
import { parseDuration } from '../units.js';
import { library, ofStore, openStore, type StoreFlags } from './checkpoint-store.js';
import { outcomeDocument, printFailure, statsText } from './run.js';

const COUNT_MAX = 10_000;
/** A line that is longer gets an end. */
const LINE_BYTES_MAX = 64 * 1024;

interface CloneFlags extends StoreFlags, CheckpointNetworkFlags, PublishFlags {
  count: number;
  timeout?: number;
  hostname?: string;
  core?: string;
  stats?: boolean;
}

const CLONE_HELP = `
The program goes on where its checkpoint was taken, with a process id, random numbers and
clocks of its own. Input, output, exit codes and Ctrl-C are those of \`mayfly run\`; a
connection that it had is reset.

It may connect to what its checkpoint was created with (--allow-net there), and --allow-net
gives it less. Where the checkpoint was created without, --allow-net is that of \`mayfly run\`.

--publish is that of \`mayfly run\`: a checkpoint of a server that listens has clones that answer
at once. With --count, --publish 0:GUESTPORT gives each a port of its own, told on stderr.

With --count, clones run side by side, each with a copy of the input. Each line of output
begins with the number of its clone, and the exit code is that of the first that failed.

--json prints {loadMicros, clones: [{exitCode, signal?, stdout, stdoutEncoding, stderr,
stderrEncoding, stats?, error?}]}. In stats, createMicros is the time until a clone could
execute its first instruction, and writtenPages what it has in memory of its own.

Examples:
  echo 'print(6 * 7)' | mayfly clone py
  mayfly clone app --count 100 --stats > /dev/null
  mayfly clone redis --publish 6379:6379
`;

export function addClone(program: Command, io: Io): void {
  const command = program
    .command('clone')
    .argument('<checkpoint>', 'a name or an id of `mayfly checkpoint ls`')
    .description('Start clones of a checkpoint.')
    .option('--count <number>', 'so many clones, side by side', parseCount, 1);
  addPublishOption(addCheckpointNetworkOption(ofStore(command)))
    .option('--timeout <duration>', 'stop them after this time, for example 10s', parseDuration)
    .option('--hostname <name>', 'what the clone calls itself; with --count, NAME-1 and so on')
    .option('--core <file>', 'write a core file when a signal or --timeout ends it')
    .option('--stats', 'print what each machine did on stderr, as JSON, at the end')
    .addHelpText('after', CLONE_HELP)
    .action(async (name: string, flags: CloneFlags, command: Command) => {
      if (flags.core !== undefined && flags.count > 1) {
        command.error('error: --core is for one clone');
      }
      if (flags.count > 1 && flags.publish.some(({ port }) => port !== 0)) {
        command.error(
          'error: a port is for one clone: with --count, --publish 0:GUESTPORT gives each one of its own',
        );
      }
      process.exitCode = await clone(name, flags, io).catch((error: unknown) =>
        printFailure(error, io),
      );
    });
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1 || count > COUNT_MAX) {
    throw new InvalidArgumentError(`A count is a number from 1 to ${COUNT_MAX}.`);
  }
  return count;
}

async function clone(name: string, asked: CloneFlags, io: Io): Promise<number> {
  const started = performance.now();
  await networkOptions(asked, io); // before anything is loaded
  const store = await openStore(asked, io);
  const flags = await checkpointNetwork(asked, await store.get(name));
  const loaded = await store.load(name);
  const loadMicros = (performance.now() - started) * 1000;
  const recorded = loaded.workingSet !== undefined;
  try {
    const stdin = await inputs(flags.count);
    if (flags.json) return await cloneForJson(loaded, loadMicros, stdin, flags, io);
    const output = streamedOutput(process.stdout, process.stderr);
    setMaxListeners(0, output.signal);
    const codes = await each(flags.count, (i) => {
      const of = flags.count === 1 ? output : markedOutput(output, `${i + 1}: `);
      return cloneToStreams(loaded, i, stdin(), of, flags, io);
    });
    return codes.find((code) => code !== 0) ?? 0;
  } finally {
    loaded.close();
    const { manifest, workingSet } = loaded;
    // Somebody may have removed the checkpoint meanwhile.
    if (!recorded && workingSet)
      await store.keepWorkingSet(manifest.id, workingSet).catch(() => {});
    process.stdin.unref?.();
  }
}

const each = <T>(count: number, work: (i: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => work(i)));

/** Gives each clone its input: one takes it as it comes, several have all of it. */
async function inputs(count: number): Promise<() => NodeJS.ReadableStream | undefined> {
  if (count === 1) return () => process.stdin;
  if (process.stdin.isTTY) return () => undefined;
  const bytes = Buffer.concat(await process.stdin.toArray());
  return () => Readable.from(bytes.length === 0 ? [] : [bytes]);
}

async function cloneToStreams(
  loaded: Loaded,
  i: number,
  stdin: NodeJS.ReadableStream | undefined,
  output: GuestOutput & { end?(): void },
  flags: CloneFlags,
  io: Io,
): Promise<number> {
  try {
    const { exitCode, stats } = await run(loaded, i, stdin, output, flags, io);
    output.end?.();
    if (flags.stats) io.stderr(statsText(stats));
    return exitCode;
  } catch (error) {
    output.end?.();
    return printFailure(error, io);
  }
}

async function cloneForJson(
  loaded: Loaded,
  loadMicros: number,
  stdin: () => NodeJS.ReadableStream | undefined,
  flags: CloneFlags,
  io: Io,
): Promise<number> {
  const clones = await each(flags.count, (i) => {
    const output = capturedOutput();
    return outcomeDocument(output, () => run(loaded, i, stdin(), output, flags, io));
  });
  printJson(io, { loadMicros, clones });
  return clones.find(({ exitCode }) => exitCode !== 0)?.exitCode ?? 0;
}

async function run(
  loaded: Loaded,
  i: number,
  stdin: NodeJS.ReadableStream | undefined,
  output: GuestOutput,
  flags: CloneFlags,
  io: Io,
): Promise<RunResult<CloneStats>> {
  const { timeout, hostname, core, count } = flags;
  const { runClone } = await library();
  const network = await networkOptions(flags, io);
  const wayIn = await openWayIn(flags, io, count === 1 ? '' : `clone ${i + 1}: `);
  return runClone(loaded, {
    ...output,
    ...(stdin && { stdin }),
    ...(timeout !== undefined && { timeoutMs: timeout }),
    ...(hostname !== undefined && { hostname: count === 1 ? hostname : `${hostname}-${i + 1}` }),
    ...(core !== undefined && { coreFile: core }),
    network,
    ...(wayIn && { wayIn }),
    onCrash: (report) => io.stderr(`mayfly: ${report}\n`),
  }).finally(() => wayIn?.close());
}

/** Output of one of several: each line begins with `mark`, also where two programs write at a time. */
function markedOutput(output: GuestOutput, mark: string): GuestOutput & { end(): void } {
  const rests = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
  const write = (stream: 'stdout' | 'stderr') => (chunk: Uint8Array) => {
    const bytes = Buffer.concat([rests[stream], chunk]);
    let start = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
      output[stream](Buffer.concat([Buffer.from(mark), bytes.subarray(start, end + 1)]));
      start = end + 1;
    }
    rests[stream] = bytes.subarray(start);
    if (rests[stream].length >= LINE_BYTES_MAX) end(stream);
  };
  const end = (stream: 'stdout' | 'stderr') => {
    const rest = rests[stream];
    if (rest.length > 0)
      output[stream](Buffer.concat([Buffer.from(mark), rest, Buffer.from('\n')]));
    rests[stream] = Buffer.alloc(0);
  };
  return {
    ...output,
    stdout: write('stdout'),
    stderr: write('stderr'),
    end() {
      end('stdout');
      end('stderr');
    },
  };
}
