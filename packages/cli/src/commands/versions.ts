/** mayfly versions, rollback. */
import type { Command } from 'commander';
import { examples } from '../examples.js';
import { type Io, printJson, table } from '../output.js';
import { parseCount } from '../units.js';
import { waiting } from '../waiting.js';
import { type Remote, remote, withClient } from './remote.js';

export function addVersionCommands(program: Command, io: Io): void {
  examples(
    remote(program.command('versions').argument('<name>'), io),
    'mayfly versions greet',
    'mayfly versions greet --json',
  )
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
  examples(
    remote(
      program.command('rollback').argument('<name>').argument('[version]', '', parseCount),
      io,
    ),
    'mayfly rollback greet',
    'mayfly rollback greet 3',
  )
    .description(
      'Serve another version of a function: the one before the current one, if none is named.',
    )
    .action((name: string, version: number | undefined, options: Remote) =>
      withClient(options, async (client) => {
        const which = version === undefined ? 'its version before' : `version ${version}`;
        const served = client.rollback(name, version);
        const info = await waiting(io, `${name} serves ${which}`, served);
        if (options.json) printJson(io, info);
        else io.stdout(`${name} serves version ${info.version}\n`);
      }),
    );
}
