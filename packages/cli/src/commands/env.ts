/** mayfly env: variables and secrets of a function, for invocations from now on. */
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import util from 'node:util';
import type { MayflyClient } from '@mayfly/client';
import { MayflyError } from '@mayfly/protocol';
import type { EnvironmentInfo, EnvironmentPatch } from '@mayfly/protocol/api';
import type { Command } from 'commander';
import { examples } from '../examples.js';
import { type Io, plain, printJson, unreadable } from '../output.js';
import { waiting } from '../waiting.js';
import { type Remote, remote, withClient } from './remote.js';

type Values = Record<string, string>;

interface SetOptions extends Remote {
  secret?: boolean;
  from?: string;
}

export function addEnv(program: Command, io: Io): void {
  const env = program
    .command('env')
    .description('Show or change variables and secrets of a function.');
  examples(remote(env.command('ls').alias('list').argument('<name>'), io), 'mayfly env ls greet')
    .description('List variables, and the names of secrets: their values cannot be read back.')
    .action((name: string, options: Remote) =>
      withClient(options, async (client) => print(await client.environment(name), options, io)),
    );
  examples(
    remote(env.command('set').argument('<name>').argument('[key=value...]'), io),
    'mayfly env set greet COLOR=red SIZE=2',
    'mayfly env set greet --from .env',
    'mayfly env set greet --secret TOKEN             # its value is that of TOKEN here',
    'pass show db | mayfly env set greet --secret --from -',
  )
    .description(
      'Set variables or secrets, for invocations from now on; the others stay. KEY alone has the value that it has here.',
    )
    .option('--secret', 'they are secrets: given to the function, never shown again')
    .option('--from <file>', 'KEY=VALUE lines of a file, as dotenv reads them; "-" is stdin')
    .action((name: string, pairs: string[], options: SetOptions) =>
      withClient(options, async (client) => {
        const values = { ...(await valuesOf(options.from)), ...pairsOf(pairs, io.env) };
        if (Object.keys(values).length === 0) {
          throw new MayflyError(
            'MAYFLY_VARIABLE',
            'there is nothing to set: say KEY=VALUE or --from FILE',
          );
        }
        await change(client, name, changesTo(values, options), options, io);
      }),
    );
  examples(
    remote(env.command('unset').argument('<name>').argument('<keys...>'), io),
    'mayfly env unset greet COLOR TOKEN',
  )
    .description('Remove variables and secrets.')
    .action((name: string, keys: string[], options: Remote) =>
      withClient(options, async (client) => {
        const gone = Object.fromEntries(keys.map((key) => [key, null]));
        await change(client, name, { variables: gone, secrets: gone }, options, io);
      }),
    );
}

/** Programs that read no frames boot anew, which takes as long as their deployment. */
async function change(
  client: MayflyClient,
  name: string,
  changes: EnvironmentPatch,
  options: Remote,
  io: Io,
): Promise<void> {
  const changed = client.changeEnvironment(name, changes);
  print(await waiting(io, `${name} serves with this environment`, changed), options, io);
}

/** A name is a variable or a secret, and not both. */
function changesTo(values: Values, { secret }: SetOptions) {
  const gone = Object.fromEntries(Object.keys(values).map((key) => [key, null]));
  return secret ? { variables: gone, secrets: values } : { variables: values, secrets: gone };
}

function pairsOf(pairs: string[], env: Io['env']): Values {
  const entries = pairs.map((pair) => {
    const equals = pair.indexOf('=');
    if (equals > 0) return [pair.slice(0, equals), pair.slice(equals + 1)];
    const value = env[pair];
    if (value === undefined) {
      throw new MayflyError(
        'MAYFLY_VARIABLE',
        `"${pair}" is not KEY=VALUE, and not set here either`,
      );
    }
    return [pair, value];
  });
  return Object.fromEntries(entries);
}

async function valuesOf(path: string | undefined): Promise<Values> {
  if (path === undefined) return {};
  const content = path === '-' ? text(process.stdin) : readFile(path, 'utf8');
  const lines = await content.catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  return util.parseEnv(lines) as Values;
}

function print(info: EnvironmentInfo, { json }: Remote, io: Io): void {
  if (json) {
    printJson(io, info);
    return;
  }
  const variables = Object.entries(info.variables).map(([key, value]) => `${key}=${plain(value)}`);
  const lines = [...variables, ...info.secrets.map((key) => `${key} (secret)`)];
  io.stdout(lines.map((line) => `${line}\n`).join(''));
}
