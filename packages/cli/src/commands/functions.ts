/** mayfly deploy, invoke, ls, rm. */
import { readFileSync } from 'node:fs';
import type { MayflyClient } from '@mayfly/client';
import type { DeploymentStep, FunctionInfo, InvocationRecord } from '@mayfly/protocol/api';
import { type Command, InvalidArgumentError } from 'commander';
import { archiveOf } from '../archive.js';
import { readDeployment } from '../deployment.js';
import { DeploymentSteps } from '../deployment-steps.js';
import { examples } from '../examples.js';
import { addNetworkOption, type NetworkFlags } from '../network-option.js';
import { type Io, logText, printJson, removeEach, table, unreadable } from '../output.js';
import { formatSize, parseCount, parseDuration, parseEnv, parseSize } from '../units.js';
import { type Remote, remote, withClient } from './remote.js';

/** 128 + SIGINT. */
const EXIT_INTERRUPTED = 130;

export function addFunctionCommands(program: Command, io: Io): void {
  addDeploy(program, io);
  addInvoke(program, io);
  addListAndRemove(program, io);
}

export function addListAndRemove(program: Command, io: Io): void {
  examples(remote(program.command('ls').alias('list'), io), 'mayfly ls', 'mayfly ls --quiet')
    .description('List the functions of a server.')
    .option('-q, --quiet', 'only their names')
    .action((options: ListOptions) => withClient(options, (client) => list(client, options, io)));
  examples(
    remote(program.command('rm').alias('remove').argument('<names...>'), io),
    'mayfly rm greet',
    'mayfly rm greet other',
  )
    .description('Remove functions, with all their versions.')
    .action((names: string[], options: Remote) =>
      withClient(options, async (client) => {
        const removed = await removeEach(names, io, async (name) => {
          await client.remove(name);
          if (!options.json) io.stdout(`removed ${name}\n`);
        });
        if (options.json) printJson(io, { removed });
      }),
    );
}

export interface DeployOptions extends Remote, NetworkFlags {
  memory?: number;
  timeout?: number;
  env?: Record<string, string>;
  warmup?: string | boolean;
}

/** The arguments and options of what deploys. */
export function deployment(command: Command, io: Io): Command {
  return addNetworkOption(remote(command.argument('<name>').argument('<path>'), io))
    .option('--memory <size>', 'guest memory, for example 256M', parseSize)
    .option(
      '--timeout <duration>',
      'longest an invocation may take, for example 10s',
      parseDuration,
    )
    .option(
      '--warmup [path]',
      'call the function once before its template is made: a GET of this path, or of /',
    )
    .option('--env <key=value>', 'environment variable (repeatable)', parseEnv);
}

function addDeploy(program: Command, io: Io): void {
  examples(
    deployment(program.command('deploy'), io),
    'mayfly deploy greet greet.mjs',
    'mayfly deploy count count.py',
    'mayfly deploy greet ./folder --memory 512M --timeout 30s --env COLOR=red',
    'mayfly deploy greet greet.ts --allow-net api.example.com:443',
  )
    .description(
      'Deploy a file: JavaScript or TypeScript with all that it imports, Python, WebAssembly, a Linux program; or a folder with a mayfly.json.',
    )
    .action((name: string, path: string, options: DeployOptions) =>
      withClient(options, async (client) => {
        const interruption = new Interruption(name, io);
        const begun = () => interruption.begun();
        const info = await deployFrom(client, name, path, options, io, { begun }).finally(() =>
          interruption.close(),
        );
        if (options.json) printJson(io, info);
        else io.stdout(deployedText(client, info));
      }),
    );
}

/** Ctrl-C ends the waiting for a deployment, and not the deployment once the server has begun it. */
class Interruption {
  readonly #stop: () => never;
  #begun = false;

  constructor(name: string, io: Io) {
    this.#stop = () => {
      const goesOn = `mayfly: the server goes on with it; \`mayfly versions ${name}\` tells when it serves\n`;
      if (this.#begun) io.stderr(goesOn);
      process.exit(EXIT_INTERRUPTED);
    };
    process.once('SIGINT', this.#stop);
  }

  begun(): void {
    this.#begun = true;
  }

  close(): void {
    process.off('SIGINT', this.#stop);
  }
}

interface DeployEvents {
  begun?(): void;
  found?(sources: readonly string[]): void;
  signal?: AbortSignal;
}

/**
 * `begun`: called when the server begins, and at each of its steps. The signal ends the waiting, not what it has begun.
 * `found`: called with the files that were bundled.
 */
export async function deployFrom(
  client: MayflyClient,
  name: string,
  path: string,
  { memory, timeout, env, warmup, allowNet, json }: DeployOptions,
  io: Io,
  { begun, found, signal }: DeployEvents = {},
): Promise<FunctionInfo> {
  const steps = json ? undefined : new DeploymentSteps(io);
  steps?.begin('bundle');
  const warn = (warning: string) => io.stderr(`  note: ${warning}\n`);
  const { settings: given, code, size, sources } = await readDeployment(path, warn);
  if (sources) found?.(sources);
  const settings = {
    ...given,
    ...(memory !== undefined && { memoryBytes: memory }),
    ...(timeout !== undefined && { timeoutMs: timeout }),
    ...(warmup !== undefined && { warmup }),
    ...(env && { env: { ...given.env, ...env } }),
    ...(allowNet.length > 0 && {
      network: { allow: [...(given.network?.allow ?? []), ...allowNet] },
    }),
  };
  steps?.made(size);
  steps?.begin('upload', size);
  let sentBytes = 0;
  const count = (bytes: number) => {
    sentBytes += bytes;
    steps?.made(sentBytes);
  };
  const sent = 'files' in code ? archiveOf(settings, code.files, count) : { ...settings, ...code };
  const onStep = ({ step, imageBytes }: DeploymentStep) => {
    begun?.();
    if (imageBytes !== undefined) steps?.made(imageBytes);
    steps?.begin(step);
  };
  const info = await client.deploy(name, sent, onStep, signal);
  steps?.end();
  return info;
}

export function deployedText(
  { url }: MayflyClient,
  { name, version, bootMicros = 0 }: FunctionInfo,
): string {
  const boot = (bootMicros / 1000).toFixed(0);
  return `deployed ${name} version ${version} (template in ${boot} ms): ${url}/fn/${name}\n`;
}

interface InvokeOptions extends Remote {
  data: unknown;
  version?: number;
  async?: boolean;
}

function addInvoke(program: Command, io: Io): void {
  examples(
    remote(program.command('invoke').argument('<name>'), io),
    `mayfly invoke greet --data '{"name":"you"}'`,
    'mayfly invoke greet --data @event.json --version 3',
    'id=$(mayfly invoke greet --async --data @-) && mayfly invocation "$id"',
  )
    .description('Invoke a function once. Its result goes to stdout, its console to stderr.')
    .option(
      '-d, --data <json>',
      'the event; @FILE takes it from a file, @- from stdin',
      parseEvent,
      null,
    )
    .option('--version <n>', 'a version other than the current one', parseCount)
    .option('--async', 'run it later; print the id of the invocation')
    .action((name: string, options: InvokeOptions) =>
      withClient(options, async (client) => {
        if (options.async)
          return printAccepted(await client.invokeLater(name, options.data, options), options, io);
        const report = await client.invoke(name, options.data, options);
        if (options.json) return printJson(io, report);
        io.stderr(report.logs.map(logText).join(''));
        io.stdout(resultText(report));
      }),
    );
}

function printAccepted(record: InvocationRecord, { json }: Remote, io: Io): void {
  if (json) printJson(io, record);
  else io.stdout(`${record.id}\n`);
}

function parseEvent(text: string): unknown {
  const json = text.startsWith('@') ? contentOf(text.slice(1)) : text;
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new InvalidArgumentError(`It is not JSON: ${(error as Error).message}.`);
  }
}

function contentOf(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function resultText({ response, result }: InvocationRecord): string {
  if (!response) return result === undefined ? '' : `${JSON.stringify(result, null, 2)}\n`;
  const body = Buffer.from(response.body ?? '', response.bodyEncoding).toString();
  return body.endsWith('\n') ? body : `${body}\n`;
}

interface ListOptions extends Remote {
  quiet?: boolean;
}

async function list(client: MayflyClient, options: ListOptions, io: Io): Promise<void> {
  const functions = await client.list();
  if (options.quiet) return io.stdout(functions.map(({ name }) => `${name}\n`).join(''));
  if (options.json) return printJson(io, { functions });
  if (functions.length === 0) return io.stdout('no functions\n');
  const row = (f: FunctionInfo) => [
    f.name,
    String(f.version),
    f.state,
    formatSize(f.memoryBytes),
    `${f.timeoutMs / 1000}s`,
    f.deployedAt,
  ];
  io.stdout(
    table([['NAME', 'VERSION', 'STATE', 'MEMORY', 'TIMEOUT', 'DEPLOYED'], ...functions.map(row)]),
  );
}
