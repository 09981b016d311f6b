#!/usr/bin/env node
// npm start: serves, deploys the hello example, calls it five times, shows what came back, and goes on serving until
// Ctrl-C. With --once it stops after the calls.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from './workspace.mjs';

const CALLS = 5;
const EXAMPLE = 'guest-agent/examples/hello.mjs';

/**
 * The demonstration on a running server: deploys and calls.
 *
 * @param {{ url: string, deploy: (name: string, source: object) => Promise<object>, say: (line: string) => void }} on
 */
export async function demonstrate({ url, deploy, say }) {
  const source = readFileSync(join(ROOT, EXAMPLE), 'utf8');
  const { bootMicros } = await deploy('hello', { source });
  say(`deployed ${EXAMPLE} as "hello": template made in ${(bootMicros / 1000).toFixed(0)} ms`);
  for (let call = 1; call <= CALLS; call++) {
    const answer = await fetch(`${url}/fn/hello?name=call-${call}`);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`call ${call} failed with ${answer.status}: ${text}`);
    const { counter } = JSON.parse(text);
    if (counter !== 1)
      throw new Error(`call ${call} saw the counter at ${counter}: not a pristine clone`);
    say(`call ${call}: counter ${counter}  ${text}`);
    say(`        ${answer.headers.get('server-timing')} (ms)`);
  }
}

async function main() {
  const { startServer } = await import('../api/dist/src/index.js');
  const { MayflyClient } = await import('../packages/client/dist/src/index.js');
  const dataDir = join(ROOT, '.mayfly');
  mkdirSync(dataDir, { recursive: true });
  const server = await startServer({ port: 0, dataDir });
  const client = new MayflyClient(server.url);
  try {
    const deploy = (name, source) => client.deploy(name, source);
    await demonstrate({ url: server.url, deploy, say: console.log });
    if (!process.argv.includes('--once')) {
      console.log(
        `\nserving at ${server.url} until Ctrl-C; try:\n  curl -i '${server.url}/fn/hello?name=you'`,
      );
      await new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve));
    }
  } finally {
    await client.close();
    await server.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch(async (error) => {
    const { printError } = await import('../packages/cli/dist/src/output.js');
    printError({ stderr: (text) => process.stderr.write(text) }, error);
    process.exitCode = 1;
  });
}
