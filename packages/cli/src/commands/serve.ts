/** mayfly serve */
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Io } from '../output.js';
import { parseCount, parsePort } from '../units.js';

export const PORT_DEFAULT = 7070;

interface ServeOptions {
  port: number;
  host: string;
  data: string;
  processes?: number;
}

export function addServe(program: Command, io: Io): void {
  program
    .command('serve')
    .description('Serve functions over HTTP until Ctrl-C.')
    .option('--port <n>', 'TCP port, 0 for any free one', parsePort, PORT_DEFAULT)
    .option('--host <address>', 'address to listen at; there is no authentication', '127.0.0.1')
    .option('--data <dir>', 'folder for functions, images and templates', dataDirDefault(io.env))
    .option(
      '--processes <n>',
      'run machines in so many processes, whose crashes the server survives (default: threads of the server)',
      parseCount,
    )
    .action(async ({ port, host, data, processes = 0 }: ServeOptions) => {
      const { startServer } = await import('@mayfly/api'); // other commands start without it
      const server = await startServer({ port, host, dataDir: data, processes });
      io.stdout(`Mayfly serves at ${server.url}, data in ${data}\n`);
      await interrupted();
      io.stderr('closing\n');
      await server.close();
    });
}

function dataDirDefault(env: Io['env']): string {
  return join(env.XDG_DATA_HOME ?? join(homedir(), '.local', 'share'), 'mayfly');
}

/** Resolves at the first SIGINT or SIGTERM; the second one ends the process as usual. */
function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
}
