/** mayfly logs */
import type { MayflyClient } from '@mayfly/client';
import type { LogQuery } from '@mayfly/protocol/api';
import type { Command } from 'commander';
import { examples } from '../examples.js';
import { type Io, logText, printJson } from '../output.js';
import { parseCount } from '../units.js';
import { type Remote, remote, withClient } from './remote.js';

interface LogOptions extends Remote, Omit<LogQuery, 'follow'> {
  follow?: boolean;
}

export function addLogs(program: Command, io: Io): void {
  examples(
    remote(program.command('logs').argument('<name>'), io),
    'mayfly logs greet --since 10m',
    'mayfly logs greet -f --json | jq .text',
  )
    .description('Show the newest console lines of a function.')
    .option('-f, --follow', 'go on with each line as it comes; with --json, one object a line')
    .option('--since <when>', 'lines since a time, or for so long: 10m')
    .option('--invocation <id>', 'lines of one invocation')
    .option('--limit <n>', 'the newest so many', parseCount)
    .action((name: string, options: LogOptions) =>
      withClient(options, (client) => show(client, name, options, io)),
    );
}

async function show(
  client: MayflyClient,
  name: string,
  { follow, json, since, invocation, limit }: LogOptions,
  io: Io,
): Promise<void> {
  const query = {
    ...(since !== undefined && { since }),
    ...(invocation !== undefined && { invocation }),
    ...(limit !== undefined && { limit }),
  };
  if (follow) {
    for await (const line of client.followLogs(name, query)) {
      io.stdout(json ? `${JSON.stringify(line)}\n` : logText(line));
    }
    return;
  }
  const logs = await client.logs(name, query);
  if (json) printJson(io, { logs });
  else io.stdout(logs.map(logText).join(''));
}
