/** Where the examples lie, and a server that they are deployed to. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServer } from '@mayfly/api';
import { FileLayers, ProcessPool } from '@mayfly/api/process-pool';
import { runCommandLine } from '@mayfly/cli';

/** Sends a request to an example, however it runs. */
export type Call = (path: string, init?: RequestInit) => Promise<Response>;

type Test = { teardown(end: () => unknown): void };

export const folderOf = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));

/** A folder that is gone when the test ends. */
export function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-examples-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

type Deploy = (name: string, folder: string, ...options: string[]) => Promise<Call>;

/** Deploys as a user does; every invocation is a process of its own. */
export async function deployer(t: Test): Promise<{ url: string; deploy: Deploy }> {
  const dataDir = temporaryFolder(t);
  const layers = new FileLayers(join(dataDir, 'layers'));
  const server = await startServer({ port: 0, dataDir, pool: new ProcessPool(), layers });
  t.teardown(() => server.close());
  const deploy: Deploy = async (name, folder, ...options) => {
    const said: string[] = [];
    const say = (text: string) => void said.push(text);
    const args = ['deploy', name, folder, '--url', server.url, ...options];
    const code = await runCommandLine(args, { stdout: say, stderr: say, env: {} });
    if (code !== 0) throw new Error(`deploying ${name} failed with ${code}: ${said.join('')}`);
    return (path, init) => fetch(`${server.url}/fn/${name}${path}`, init);
  };
  return { url: server.url, deploy };
}
