/** mayfly stats, invocations, invocation: how functions fare. */
import type { FunctionStats, InvocationList } from '@mayfly/protocol/api';
import type { Command } from 'commander';
import { examples } from '../examples.js';
import { type Io, plain, printJson, table } from '../output.js';
import { parseCount } from '../units.js';
import { type Remote, remote, withClient } from './remote.js';

type Listed = InvocationList['invocations'][number];

export function addStatsCommands(program: Command, io: Io): void {
  examples(remote(program.command('stats'), io), 'mayfly stats')
    .description('Show how the functions of a server fare, since it started.')
    .action((options: Remote) =>
      withClient(options, async (client) => {
        const stats = await client.stats();
        if (options.json) return printJson(io, stats);
        const head = [
          'NAME',
          'INVOCATIONS',
          'ERRORS',
          'COLD',
          'RUNNING',
          'QUEUED',
          'CLONES',
          'P50',
          'P99',
        ];
        io.stdout(table([head, ...stats.functions.map(statsRow)]));
      }),
    );
  examples(
    remote(program.command('invocations').argument('<name>'), io),
    'mayfly invocations greet --limit 10',
  )
    .description('List the newest invocations of a function.')
    .option('--limit <n>', 'so many', parseCount)
    .action((name: string, options: Remote & { limit?: number }) =>
      withClient(options, async (client) => {
        const invocations = await client.invocations(name, options.limit);
        if (options.json) return printJson(io, { invocations });
        const head = ['ID', 'VERSION', 'STATUS', 'RECEIVED', 'TOTAL', 'WHAT'];
        io.stdout(table([head, ...invocations.map(invocationRow)]));
      }),
    );
  examples(
    remote(program.command('invocation').argument('<id>'), io),
    'mayfly invocation 01a2210f-2c42-76f3-bf05-89ab0e47d70e',
  )
    .description('Show the record of an invocation, as JSON.')
    .action((id: string, options: Remote) =>
      withClient(options, async (client) => printJson(io, await client.invocation(id))),
    );
}

function statsRow(stats: FunctionStats): string[] {
  const { name, invocations, errors, coldStarts, running, queued, clones, latency } = stats;
  const counts = [invocations, errors, coldStarts, running, queued, clones].map(String);
  return [name, ...counts, ms(latency.p50Ms), ms(latency.p99Ms)];
}

function invocationRow({
  id,
  version,
  status,
  receivedAt,
  timing,
  error,
  request,
}: Listed): string[] {
  const what = error?.code ?? (request ? `${request.method} ${plain(request.path)}` : 'event');
  return [id, String(version), status, receivedAt, timing ? ms(timing.totalMs) : '', what];
}

function ms(value: number): string {
  return `${value.toFixed(2)}ms`;
}
