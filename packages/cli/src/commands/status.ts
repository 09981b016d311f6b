/** mayfly status, inspect: how a server is, and all that it knows of a function. */
import type { MayflyClient } from '@mayfly/client';
import { VERSION } from '@mayfly/protocol';
import type { Command } from 'commander';
import { examples } from '../examples.js';
import { type Io, plain, printJson, table } from '../output.js';
import { formatSize } from '../units.js';
import { type Remote, remote, withClient } from './remote.js';

export function addStatus(program: Command, io: Io): void {
  examples(
    remote(program.command('status'), io),
    'mayfly status',
    'mayfly status --url http://10.0.0.5:7070 || echo down',
  )
    .description('Show whether a server takes requests. Exits with 1 if it does not.')
    .action((options: Remote) =>
      withClient(options, async (client) => {
        const status = await statusOf(client);
        if (status.state !== 'ready') process.exitCode = 1;
        if (options.json) return printJson(io, status);
        io.stdout(
          fields([
            ['server', status.url],
            ['version', versionText(status.version)],
            ['state', status.state],
            ['functions', String(status.functions)],
            ['in flight', String(status.inFlight)],
            ['started', status.startedAt],
          ]),
        );
      }),
    );
}

export function addInspect(program: Command, io: Io): void {
  examples(
    remote(program.command('inspect').argument('<name>'), io),
    'mayfly inspect greet',
    'mayfly inspect greet --json | jq .versions',
  )
    .description('Show a function: settings, versions, environment, and how it fares.')
    .action((name: string, options: Remote) =>
      withClient(options, async (client) => {
        const all = await inspected(client, name);
        if (options.json) printJson(io, all);
        else io.stdout(inspectedText(client, all));
      }),
    );
}

async function statusOf(client: MayflyClient) {
  const [{ version, functions, inFlight }, { status: state }, { startedAt }] = await Promise.all([
    client.health(),
    client.readiness(),
    client.stats(),
  ]);
  return { url: client.url, version, state, functions, inFlight, startedAt };
}

/** Commands of another version than the server's may want what it does not have. */
function versionText(version: string): string {
  return version === VERSION ? version : `${version}; this command is ${VERSION}`;
}

type Inspected = Awaited<ReturnType<typeof inspected>>;

async function inspected(client: MayflyClient, name: string) {
  const [info, versions, environment, stats] = await Promise.all([
    client.get(name),
    client.versions(name),
    client.environment(name),
    client.functionStats(name),
  ]);
  return { function: info, versions, environment, stats };
}

function inspectedText(
  { url }: MayflyClient,
  { function: f, versions, environment, stats }: Inspected,
): string {
  const own = { ...f.env, ...environment.variables };
  const variables = Object.entries(own).map(([key, value]) => `${key}=${plain(value)}`);
  const secrets = environment.secrets.map((key) => `${key} (secret)`);
  const { invocations, errors, running, clones, latency } = stats;
  const older = versions.filter(({ current }) => !current).map(({ version }) => version);
  return fields([
    ['name', f.name],
    ['url', `${url}/fn/${f.name}`],
    ['state', f.state],
    ['version', `${f.version}, deployed ${f.deployedAt}`],
    ['others', older.join(' ') || 'none'],
    ['runtime', [f.runtime, f.exports].filter(Boolean).join(', ')],
    ['memory', formatSize(f.memoryBytes)],
    ['timeout', `${f.timeoutMs / 1000}s`],
    ['network', f.network?.allow.join(' ') || 'closed'],
    ['env', [...variables, ...secrets].join('\n') || 'none'],
    ['source', `sha256:${f.sourceDigest}`],
    ['calls', `${invocations}, ${errors} failed, ${running} running`],
    ['clones', String(clones)],
    ['latency', `p50 ${latency.p50Ms.toFixed(2)} ms, p99 ${latency.p99Ms.toFixed(2)} ms`],
  ]);
}

/** One a line; further lines of a value stand below its first. */
function fields(rows: [name: string, value: string][]): string {
  const lines = rows.flatMap(([name, value]) =>
    value.split('\n').map((line, i) => [i === 0 ? name : '', line]),
  );
  return table(lines);
}
