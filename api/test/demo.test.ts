/** The demonstration of `npm start`, over processes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { startServer } from '../src/index.js';
import { FileLayers, ProcessPool } from './process-pool.js';

type Demonstrate = (on: {
  url: string;
  deploy: (name: string, source: object) => Promise<unknown>;
  say: (line: string) => void;
}) => Promise<void>;

t.test('five calls, and the counter never gets past 1', async (t) => {
  const script = new URL('../../../.ci/demo.mjs', import.meta.url).href;
  const { demonstrate } = (await import(script)) as { demonstrate: Demonstrate };
  const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-demo-'));
  const layers = new FileLayers(join(dataDir, 'layers'));
  const { url, close } = await startServer({ port: 0, dataDir, pool: new ProcessPool(), layers });
  t.teardown(async () => {
    await close();
    rmSync(dataDir, { recursive: true });
  });
  const deploy = async (name: string, source: object) => {
    const init = { method: 'PUT', headers: { 'content-type': 'application/json' } };
    const body = JSON.stringify(source);
    return (await fetch(`${url}/v1/functions/${name}`, { ...init, body })).json();
  };
  const lines: string[] = [];
  await demonstrate({ url, deploy, say: (line) => lines.push(line) });
  t.equal(lines.filter((line) => /^call \d: counter 1 /.test(line)).length, 5);
  t.equal(lines.filter((line) => /queue;dur=.*guest;dur=.*total;dur=/.test(line)).length, 5);
});
