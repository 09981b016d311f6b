/** mayfly serve */
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { RunningServer } from '@mayfly/api';
import { type Command, Option } from 'commander';
import { examples } from '../examples.js';
import type { Io } from '../output.js';
import { parseCount, parseDuration, parsePort } from '../units.js';

export const PORT_DEFAULT = 7070;

interface ServeOptions {
  port: number;
  host: string;
  data: string;
  processes?: number;
  bootTimeout: number;
  drain: number;
}

const BOOT_TIMEOUT_MS = 60_000;
const DRAIN_MS = 30_000;

export function addServe(program: Command, io: Io): void {
  examples(
    program.command('serve'),
    'mayfly serve',
    'mayfly serve --port 0 --data ./data --processes 2',
  )
    .description('Serve functions over HTTP until Ctrl-C.')
    .option('--port <n>', 'TCP port, 0 for any free one', parsePort, PORT_DEFAULT)
    .option('--host <address>', 'address to listen at; there is no authentication', '127.0.0.1')
    .option('--data <dir>', 'folder for functions, images and templates', dataDirDefault(io.env))
    .option(
      '--processes <n>',
      'run machines in so many processes, whose crashes the server survives (default: threads of the server)',
      parseCount,
    )
    .addOption(
      new Option('--boot-timeout <duration>', 'how long a function may take until it is ready')
        .argParser(parseDuration)
        .default(BOOT_TIMEOUT_MS, '60s'),
    )
    .addOption(
      new Option(
        '--drain <duration>',
        'how long running invocations may go on after SIGTERM or Ctrl-C; a second one ends at once',
      )
        .argParser(parseDuration)
        .default(DRAIN_MS, '30s'),
    )
    .action(async ({ port, host, data, processes = 0, bootTimeout, drain }: ServeOptions) => {
      const { startServer } = await import('@mayfly/api'); // other commands start without it
      const limits = { bootTimeoutMs: bootTimeout };
      const options = { port, host, dataDir: data, processes, limits, drainMs: drain };
      const server = await startServer(options);
      io.stdout(`Mayfly serves at ${server.url}, data in ${data}\n`);
      await serveUntilSignal(server, io);
    });
}

/** Closes the server at the first SIGINT or SIGTERM; the second one ends the process as usual. */
export async function serveUntilSignal(server: RunningServer, io: Io): Promise<void> {
  await new Promise<void>((resolve) => {
    const stop = () => {
      for (const signal of SIGNALS) process.off(signal, stop);
      resolve();
    };
    for (const signal of SIGNALS) process.on(signal, stop);
  });
  io.stderr('closing: running invocations are answered; a second signal ends at once\n');
  await server.close();
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

function dataDirDefault(env: Io['env']): string {
  return join(env.XDG_DATA_HOME || join(homedir(), '.local', 'share'), 'mayfly');
}
