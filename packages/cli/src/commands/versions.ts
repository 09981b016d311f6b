/** mayfly versions, rollback, env: what changes of a function without a deployment. */
import type { EnvironmentInfo } from '@mayfly/protocol/api';
import type { Command } from 'commander';
import { type Io, plain, printJson, table } from '../output.js';
import { parseCount, parseEnv, repeated } from '../units.js';
import { type Remote, remote, withClient } from './remote.js';

export function addVersionCommands(program: Command, io: Io): void {
  remote(program.command('versions').argument('<name>'), io)
    .description('List the versions of a function, newest first.')
    .action((name: string, options: Remote) =>
      withClient(options, async (client) => {
        const versions = await client.versions(name);
        if (options.json) return printJson(io, { versions });
        const rows = versions.map(({ version, current, deployedAt, sourceDigest }) => [
          `${version}${current ? ' *' : ''}`,
          deployedAt,
          sourceDigest.slice(0, 12),
        ]);
        io.stdout(table([['VERSION', 'DEPLOYED', 'SOURCE'], ...rows]));
      }),
    );
  remote(program.command('rollback').argument('<name>').argument('[version]', '', parseCount), io)
    .description(
      'Serve another version of a function: the one before the current one, if none is named.',
    )
    .action((name: string, version: number | undefined, options: Remote) =>
      withClient(options, async (client) => {
        const info = await client.rollback(name, version);
        if (options.json) printJson(io, info);
        else io.stdout(`${name} serves version ${info.version}\n`);
      }),
    );
  addEnv(program, io);
}

interface EnvOptions extends Remote {
  set?: Record<string, string>;
  secret?: Record<string, string>;
  unset?: string[];
}

function addEnv(program: Command, io: Io): void {
  remote(program.command('env').argument('<name>'), io)
    .description('Show or change variables and secrets of a function, for invocations from now on.')
    .option('--set <key=value>', 'set a variable (repeatable)', parseEnv)
    .option(
      '--secret <key=value>',
      'set a secret, which cannot be read back (repeatable)',
      parseEnv,
    )
    .option('--unset <key>', 'remove a variable or a secret (repeatable)', repeated)
    .action((name: string, options: EnvOptions) =>
      withClient(options, async (client) => {
        const { set = {}, secret = {}, unset = [] } = options;
        const gone = Object.fromEntries(unset.map((key) => [key, null]));
        const changes = { variables: { ...gone, ...set }, secrets: { ...gone, ...secret } };
        const isChange = Object.keys({ ...changes.variables, ...changes.secrets }).length > 0;
        const info = isChange
          ? await client.changeEnvironment(name, changes)
          : await client.environment(name);
        if (options.json) printJson(io, info);
        else io.stdout(envText(info));
      }),
    );
}

function envText({ variables, secrets }: EnvironmentInfo): string {
  const lines = Object.entries(variables).map(([key, value]) => `${key}=${plain(value)}`);
  return [...lines, ...secrets.map((key) => `${key} (secret)`)].map((line) => `${line}\n`).join('');
}
