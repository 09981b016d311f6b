/** A server at a port and in a folder of its own, until the end of the test that starts it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pool } from '@mayfly/vmm';
import { type StartOptions, startServer } from '../src/index.js';
import { noLayers } from './memory-pool.js';
import { FileLayers, ProcessPool } from './process-pool.js';

export type Tap = { teardown(end: () => Promise<void>): void };

// biome-ignore lint/suspicious/noExplicitAny: the tests look into whatever comes back
export type JsonAnswer = { status: number; headers: Headers; body: any };

export type Options = Partial<StartOptions> & { pool: Pool };

/** Gone at the end of the test. */
export function folder(t: Tap): string {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-api-'));
  t.teardown(async () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export async function testServer(t: Tap, options: Options) {
  const dataDir = options.dataDir ?? folder(t);
  const given = { port: 0, layers: noLayers, logLevel: 'silent', ...options } as const;
  const server = await startServer({ ...given, dataDir });
  const { url } = server;
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= server.close();
    return closed;
  };
  t.teardown(close);
  const json = async (path: string, init?: RequestInit): Promise<JsonAnswer> => {
    const { status, headers, ...answer } = await answerOf(url + path, init);
    return { status, headers, body: answer.text && JSON.parse(answer.text) };
  };
  return { url, port: Number(new URL(url).port), dataDir, close, json };
}

/** One whose functions run in processes of this host. */
export async function processServer(t: Tap, options: Partial<StartOptions> = {}) {
  const dataDir = options.dataDir ?? folder(t);
  const pool = new ProcessPool();
  const layers = new FileLayers(join(dataDir, 'layers'));
  return { ...(await testServer(t, { pool, layers, ...options, dataDir })), pool };
}

async function answerOf(url: string, init?: RequestInit) {
  const answer = await fetch(url, init);
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}
