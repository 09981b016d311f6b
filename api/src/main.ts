/** Wires the server: store, images, pool, HTTP. */
import { join } from 'node:path';
import { ImageStore } from '@mayfly/image';
import { MayflyError } from '@mayfly/protocol';
import type { Pool } from '@mayfly/vmm';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { ImageLayers, type Layers } from './layers.js';
import { REGISTRY_LIMITS, Registry, type RegistryLimits } from './registry.js';
import { buildServer } from './server.js';
import { gracefulClose } from './shutdown.js';
import { FunctionStore } from './store.js';

export interface StartOptions {
  /** 0 takes any free port. */
  port: number;
  /** Who can reach the server; there is no authentication yet, so only this host by default. */
  host?: string;
  /** Holds functions, images and checkpoints; made if needed. */
  dataDir: string;
  /** Where invocations run; machines of this host by default. It is closed with the server. */
  pool?: Pool;
  /** What guests see; images in the data directory by default. */
  layers?: Layers;
  limits?: Partial<RegistryLimits>;
  bodyBytesMax?: number;
  logLevel?: 'debug' | 'info' | 'warn' | 'error' | 'silent';
}

export interface RunningServer {
  url: string;
  /** Answers what is under way, then closes the pool. */
  close(): Promise<void>;
}

export async function startServer(options: StartOptions): Promise<RunningServer> {
  const { dataDir, port, host = '127.0.0.1' } = options;
  const store = await FunctionStore.open(join(dataDir, 'functions'));
  const layers = options.layers ?? new ImageLayers(await ImageStore.open(join(dataDir, 'images')));
  const pool = options.pool ?? (await machinePool(join(dataDir, 'templates')));
  const limits = { ...REGISTRY_LIMITS, ...options.limits };
  const registry = await Registry.open(pool, layers, store, limits);
  const logger = pino({ level: options.logLevel ?? 'warn' }, pino.destination(2));
  const { bodyBytesMax } = options;
  const app = buildServer(registry, { logger, ...(bodyBytesMax ? { bodyBytesMax } : undefined) });
  const closeServer = gracefulClose(app);
  const url = await listen(app, port, host);
  const close = async () => {
    await closeServer();
    await pool.close();
  };
  return { url, close };
}

/** Loaded on demand: a server with another pool needs neither KVM nor the native addon. */
async function machinePool(directory: string): Promise<Pool> {
  const { MachinePool } = await import('@mayfly/vmm');
  return new MachinePool({ directory });
}

async function listen(app: FastifyInstance, port: number, host: string): Promise<string> {
  try {
    return await app.listen({ port, host });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== 'EADDRINUSE' && code !== 'EACCES' && code !== 'EADDRNOTAVAIL') throw cause;
    throw new MayflyError('MAYFLY_LISTEN', message, { cause });
  }
}
