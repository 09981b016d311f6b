/** mayfly dev: deploys, and deploys again whenever the source is saved; the function's console lines meanwhile. */
import type { MayflyClient } from '@mayfly/client';
import type { Command } from 'commander';
import { examples } from '../examples.js';
import { type Io, logText, plain, printError, printJson } from '../output.js';
import type { Sources } from '../sources.js';
import { type DeployOptions, deployedText, deployFrom, deployment } from './functions.js';
import { withClient } from './remote.js';

export function addDev(program: Command, io: Io): void {
  examples(
    deployment(program.command('dev'), io),
    'mayfly dev greet greet.mjs',
    'mayfly dev greet ./folder --env COLOR=red',
  )
    .description(
      'Deploy, and deploy again whenever a file is saved that is deployed or imported; until SIGINT.',
    )
    .action((name: string, path: string, options: DeployOptions) =>
      withClient(options, (client) => develop(client, name, path, options, io)),
    );
}

async function develop(
  client: MayflyClient,
  name: string,
  path: string,
  options: DeployOptions,
  io: Io,
): Promise<void> {
  const end = new AbortController();
  const stop = () => end.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  io.signal?.addEventListener('abort', stop);
  try {
    let following: Promise<void> | undefined;
    const { Sources } = await import('../sources.js'); // no other command watches files
    const sources = new Sources(path);
    for await (const _ of sources.saves(end.signal)) {
      const deployed = await deployOnce(client, name, path, sources, options, io, end.signal);
      if (!deployed || options.json) continue;
      following ??= follow(client, name, io, end.signal).then(() => {
        following = undefined; // the next deployment may have a server again
      });
    }
    await following;
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

/** What is wrong with the source is told, and the next save may be better. */
async function deployOnce(
  client: MayflyClient,
  name: string,
  path: string,
  sources: Sources,
  options: DeployOptions,
  io: Io,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const found = (files: readonly string[]) => sources.add(files);
    const info = await deployFrom(client, name, path, options, io, { found, signal });
    if (options.json) printJson(io, info);
    else io.stdout(deployedText(client, info));
    return true;
  } catch (error) {
    if (!signal.aborted) printError(io, error);
    return false;
  }
}

async function follow(
  client: MayflyClient,
  name: string,
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  try {
    const last = (await client.logs(name, { limit: 1 })).at(-1);
    const query = last ? { after: last.sequence } : {};
    for await (const line of client.followLogs(name, query, signal)) io.stderr(logText(line));
  } catch (error) {
    if (signal.aborted) return;
    io.stderr(`mayfly: console lines are not shown any more: ${plain((error as Error).message)}\n`);
  }
}
