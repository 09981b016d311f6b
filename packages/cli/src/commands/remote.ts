/** What commands that talk to a server share. */
import type { MayflyClient } from '@mayfly/client';
import type { Command } from 'commander';
import type { Io } from '../output.js';
import { PORT_DEFAULT } from './serve.js';

export interface Remote {
  url: string;
  json?: boolean;
}

/** The options of every command that talks to a server. */
export function remote(command: Command, io: Io): Command {
  return command
    .option(
      '--url <url>',
      'the server (MAYFLY_URL)',
      io.env.MAYFLY_URL || `http://127.0.0.1:${PORT_DEFAULT}`,
    )
    .option('--json', 'print JSON');
}

export async function withClient<T>(
  { url }: Remote,
  work: (client: MayflyClient) => Promise<T>,
): Promise<T> {
  const { MayflyClient } = await import('@mayfly/client');
  const client = new MayflyClient(url);
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
