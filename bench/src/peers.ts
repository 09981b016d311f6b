/** The same answer by other means, side by side: a fresh sandbox a request, or one that is reused. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Benchmark, type Measurement, Unavailable } from './benchmark.js';
import { Target } from './http-client.js';
import { startServers } from './http-process.js';
import type { PeerUrls } from './peer-servers.js';
import { scaled } from './scale.js';

const SAMPLES = 200;
const CONNECTIONS = 8;
const LOAD_MS = 3000;

const PEERS: Record<string, string> = {
  process: 'fork and exec of a small program a request',
  node: 'a fresh node process a request',
  worker: 'a fresh worker thread of Node.js a request',
  'isolated-vm': 'a fresh V8 isolate a request (isolated-vm)',
  quickjs: 'a fresh QuickJS runtime a request (quickjs-emscripten)',
  'workerd-fresh': 'a fresh isolate a request (workerd, worker loader)',
  workerd: 'one isolate for all requests (workerd)',
  plain: 'no sandbox: a plain Node.js server',
};

async function measure(name: string): Promise<Measurement> {
  const { urls, stop } = await startServers<PeerUrls>('./peer-servers.js');
  const [peer, plain] = [urls[name]!, urls.plain!];
  try {
    if ('missing' in peer) throw new Unavailable(`${peer.missing}; see --install-peers`);
    if ('missing' in plain) throw new Error(plain.missing);
    const [one, loaded] = [new Target(peer.url, 1), new Target(peer.url, CONNECTIONS)];
    const bare = new Target(plain.url, 1);
    try {
      await one.batch(scaled(SAMPLES / 10));
      await bare.batch(scaled(SAMPLES));
      const samples = await one.batch(scaled(SAMPLES));
      const floor = await bare.batch(scaled(SAMPLES));
      const { throughput } = await loaded.load(CONNECTIONS, scaled(LOAD_MS));
      return { samples, floor, throughput };
    } finally {
      await Promise.all([one, loaded, bare].map((target) => target.close()));
    }
  } finally {
    await stop();
  }
}

export const peers: readonly Benchmark[] = Object.entries(PEERS).map(([name, about]) => ({
  name: `peers-${name}`,
  unit: 'us',
  about: `${about}; floor: plain Node.js server`,
  run: () => measure(name),
}));

/** Puts what the peers need into bench/peers, which is no part of the workspace: some of it is large, or is compiled. */
export function installPeers(): void {
  const cwd = fileURLToPath(new URL('../../peers', import.meta.url));
  // isolated-vm would fetch a binary from elsewhere than the registry, and headers to compile it with.
  const env: NodeJS.ProcessEnv = { ...process.env, npm_config_build_from_source: 'true' };
  const prefix = dirname(dirname(process.execPath));
  if (existsSync(join(prefix, 'include/node/node_api.h'))) env.npm_config_nodedir = prefix;
  execFileSync('npm', ['install', '--no-package-lock', '--no-audit', '--no-fund'], {
    cwd,
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}
