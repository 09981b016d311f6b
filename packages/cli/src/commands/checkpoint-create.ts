/** mayfly checkpoint create: runs a program up to a moment, and stores its machine. */
import { readFile } from 'node:fs/promises';
import type { CheckpointStore, Manifest, Origin } from '@mayfly/vmm/checkpoint';
import type { Machine } from '@mayfly/vmm/machine';
import type { WayIn, WayOut } from '@mayfly/vmm/network';
import type { Command } from 'commander';
import {
  type CapturedOutput,
  capturedOutput,
  type GuestOutput,
  streamedOutput,
} from '../guest-output.js';
import {
  addCheckpointNetworkOption,
  type CheckpointNetworkFlags,
  checkpointNetwork,
  networkOptions,
} from '../network-option.js';
import { type Io, printJson, unreadable } from '../output.js';
import { addProgramOptions, type ProgramFlags, programSpec } from '../program-options.js';
import { Progress } from '../progress.js';
import { addPublishOption, openWayIn, type PublishFlags } from '../publish-option.js';
import { formatSize, parseDuration } from '../units.js';
import { library, ofStore, openStore, PAGE, type StoreFlags } from './checkpoint-store.js';

interface CreateFlags extends ProgramFlags, StoreFlags, CheckpointNetworkFlags, PublishFlags {
  from?: string;
  after?: number;
  whenIdle?: boolean;
  input?: string;
  leaveRunning?: boolean;
}

const CREATE_HELP = `
The checkpoint is taken when the program asks for it, by reading /dev/checkpoint: the read
returns "clone" in clones, and "original" in a program that is left running. --when-idle
takes it as soon as every thread waits for something that will not come soon, or after a second
in which the program did no more than look at its clock, as servers do that wait for clients.
--after takes it after a time, wherever the program is then; Ctrl-\\, or \`kill -USR1\`, at once.

--publish is that of \`mayfly run\`: clients may fill a server before its checkpoint is taken. With
--when-idle that is a second after clients have come and the last of them has left. Clients
that are still there stay with the program if it is left running, and clones know none of them.

--from goes on from another checkpoint instead of starting a program. The new one stores
what differs, and stays whole when the other one is removed.

The program comes behind \`--\`. It has the bytes of --input in its standard input, which stays
open: each clone goes on with an input of its own. What --allow-net opens is kept: its clones
may connect there too, to nothing else, and read a reset from connections that it had. The
other options mean what they mean in \`mayfly run\`.

Examples:
  mayfly checkpoint create py --when-idle -- python3 -i -q
  echo 'import json' | mayfly checkpoint create json --from py --when-idle --input -
  echo 'print(json.dumps([1]))' | mayfly clone json
  mayfly checkpoint create cache --when-idle --publish 6379:6379 -- redis-server &
  redis-cli < data.redis && wait && mayfly clone cache --publish 6379:6379
`;

export function addCreate(checkpoint: Command, io: Io): void {
  const create = checkpoint
    .command('create')
    .argument('<name>', 'letters, digits and . _ -')
    .argument('[program]', 'a path, or a name to be found in PATH')
    .argument('[args...]')
    .description('Run a program up to a moment, and store its machine for clones.')
    .option('--from <checkpoint>', 'go on from this checkpoint, and store the difference')
    .option('--after <duration>', 'take it after this time, for example 2s', parseDuration)
    .option('--when-idle', 'take it when the program waits')
    .option('--input <file>', 'give the program this input before; "-" is stdin')
    .option('--leave-running', 'let the program go on afterwards, as in `mayfly run`');
  addPublishOption(addCheckpointNetworkOption(ofStore(addProgramOptions(create))))
    .usage('<name> [options] -- <program> [args...]')
    .addHelpText('after', CREATE_HELP)
    .action(
      async (
        name: string,
        program: string | undefined,
        args: string[],
        flags: CreateFlags,
        command: Command,
      ) => {
        checkUsage(program, flags, command);
        process.exitCode = await createCheckpoint(name, program, args, flags, io);
      },
    );
}

function checkUsage(program: string | undefined, flags: CreateFlags, command: Command): void {
  const { from, image, after, whenIdle, json, leaveRunning } = flags;
  const wrong = (text: string) => command.error(`error: ${text}`);
  if (from === undefined && program === undefined && image.length === 0) {
    wrong("missing required argument 'program'");
  }
  const booted = ['image', 'dir', 'memory', 'env', 'cwd'].filter(
    (option) => command.getOptionValueSource(option) === 'cli',
  );
  if (from !== undefined && (program !== undefined || booted.length > 0)) {
    const what = program !== undefined ? 'a program' : booted.map((o) => `--${o}`).join(', ');
    wrong(`--from goes on with the machine that there is: ${what} cannot be chosen any more`);
  }
  if (after !== undefined && whenIdle) wrong('--after and --when-idle are two moments: give one');
  if (json && leaveRunning) wrong('--json prints one document at the end: without --leave-running');
}

async function createCheckpoint(
  name: string,
  program: string | undefined,
  args: string[],
  flags: CreateFlags,
  io: Io,
): Promise<number> {
  await networkOptions(flags, io); // these three before anything runs
  const store = await openStore(flags, io);
  await store.checkFree(name);
  const wayIn = await openWayIn(flags, io);
  const progress = new Progress(process.stderr);
  const request = requestFromOutside();
  try {
    const captured = flags.json ? capturedOutput() : undefined;
    const output = captured ?? streamedOutput(process.stdout, process.stderr);
    const input = flags.input === undefined ? undefined : await readInput(flags.input);
    const origin =
      flags.from === undefined
        ? await bootedMachine(program, args, flags, output, io, progress)
        : await clonedMachine(store, flags.from, flags, output, io);
    const { machine, close } = origin;
    try {
      if (input !== undefined) machine.devices.console.pushInput(input);
      if (wayIn !== undefined) io.stderr(`mayfly: ${momentText(flags)}\n`);
      const surroundings = { ...output, ...(wayIn && { wayIn }) };
      const now = request.signal;
      const manifest = await takeCheckpoint(
        store,
        name,
        origin,
        flags,
        surroundings,
        now,
        progress,
      );
      request.end();
      progress.end();
      if (captured !== undefined) printJson(io, { ...manifest, output: documentOf(captured) });
      else io.stderr(await createdText(store, manifest));
      return flags.leaveRunning ? await goOn(origin, flags, surroundings) : 0;
    } finally {
      close();
    }
  } finally {
    request.end();
    wayIn?.close();
    progress.end();
    process.stdin.unref?.();
  }
}

/** A signal with which somebody at the terminal, or another process, asks for the checkpoint. */
function requestFromOutside(): { signal: AbortSignal; end(): void } {
  const request = new AbortController();
  const ask = () => request.abort();
  const signals = ['SIGQUIT', 'SIGUSR1'] as const;
  for (const signal of signals) process.on(signal, ask);
  const end = () => {
    for (const signal of signals) process.off(signal, ask);
  };
  return { signal: request.signal, end };
}

function momentText({ after, whenIdle }: CreateFlags): string {
  const when =
    after !== undefined
      ? `after ${after / 1000} s`
      : whenIdle
        ? 'a second after the last client has left'
        : 'when the program asks for it';
  return `the checkpoint is taken ${when}; Ctrl-\\ or \`kill -USR1 ${process.pid}\` takes it at once`;
}

/** What a machine has around it besides its network. */
interface Surroundings extends GuestOutput {
  wayIn?: WayIn;
}

/** A machine on its way to a checkpoint. */
interface Running extends Origin {
  machine: Machine;
  wayOut: WayOut;
  close(): void;
}

/** Closes the machine when its network is not as it should be. */
async function withNetwork(
  origin: Omit<Running, 'wayOut'>,
  flags: CheckpointNetworkFlags,
  io: Io,
): Promise<Running> {
  const { openWayOut } = await import('@mayfly/vmm/run');
  const { machine } = origin;
  const options = await networkOptions(flags, io);
  const wayOut = await openWayOut(machine, options);
  const network = options.allow.length > 0 ? { network: options.allow } : {};
  const close = () => {
    wayOut.close();
    origin.close();
  };
  return { ...origin, ...network, wayOut, close };
}

async function bootedMachine(
  program: string | undefined,
  args: string[],
  flags: CreateFlags,
  output: GuestOutput,
  io: Io,
  progress: Progress,
): Promise<Running> {
  const spec = await programSpec(program, args, flags, io, (step) => progress.show(step));
  progress.end();
  const { bootProgram } = await import('@mayfly/vmm/run');
  const { machine, start, images } = await bootProgram({ ...spec, ...output });
  const close = () => machine.close();
  return withNetwork({ machine, images, command: start.argv, close }, flags, io);
}

async function clonedMachine(
  store: CheckpointStore,
  from: string,
  flags: CheckpointNetworkFlags,
  output: GuestOutput,
  io: Io,
): Promise<Running> {
  const { cloneMachine } = await library();
  const rules = await checkpointNetwork(flags, await store.get(from));
  const parent = await store.load(from);
  const machine = cloneMachine(parent, output);
  const close = () => {
    machine.close();
    parent.close();
  };
  return withNetwork({ machine, parent, command: parent.manifest.command, close }, rules, io);
}

async function takeCheckpoint(
  store: CheckpointStore,
  name: string,
  { machine, wayOut: _, close: __, ...origin }: Running,
  { timeout, after, whenIdle }: CreateFlags,
  { outputReady, signal, wayIn }: Surroundings,
  now: AbortSignal,
  progress: Progress,
): Promise<Manifest> {
  const { runToMoment, storeMachine } = await library();
  const moment = after !== undefined ? { afterMs: after } : whenIdle ? 'idle' : 'asked';
  const state = await runToMoment(machine, moment, {
    outputReady,
    signal,
    now,
    ...(timeout !== undefined && { timeoutMs: timeout }),
    ...(wayIn && { wayIn }),
  });
  const onBytes = progress.counter(`storing ${name}`);
  return storeMachine(store, { machine, state, ...origin }, { name, onBytes });
}

async function goOn(
  { machine, wayOut, command }: Running,
  { input }: CreateFlags,
  surroundings: Surroundings,
): Promise<number> {
  const { driveMachine } = await import('@mayfly/vmm/run');
  const [program = '', ...args] = command;
  const stdin = input === '-' ? {} : { stdin: process.stdin };
  const start = { program, argv: [program, ...args] };
  return (await driveMachine(machine, start, { ...surroundings, ...stdin, wayOut })).exitCode;
}

async function readInput(file: string): Promise<Uint8Array> {
  try {
    if (file !== '-') return await readFile(file);
    return Buffer.concat(await process.stdin.toArray());
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function documentOf(captured: CapturedOutput) {
  const { stdout, stderr } = captured.captured();
  return {
    stdout: stdout.text,
    stdoutEncoding: stdout.encoding,
    stderr: stderr.text,
    stderrEncoding: stderr.encoding,
  };
}

async function createdText(store: CheckpointStore, manifest: Manifest): Promise<string> {
  const { name, memory, parent } = manifest;
  const difference =
    parent === undefined ? '' : `, the difference to ${(await store.get(parent)).name}`;
  const stored = `${formatSize(memory.pages * PAGE)} of ${formatSize(memory.size)} stored`;
  return `mayfly: created ${name}: ${stored}${difference}\n`;
}
