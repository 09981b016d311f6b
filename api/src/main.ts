/** Wires the server: store, images, pool, HTTP. */
import { join } from 'node:path';
import { ImageStore } from '@mayfly/image';
import { MayflyError } from '@mayfly/protocol';
import type { Pool } from '@mayfly/vmm';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { Invoker, type Observer } from './invoker.js';
import { LaterInvocations } from './later.js';
import { ImageLayers, type Layers } from './layers.js';
import { Registry } from './registry.js';
import { defaultLimits, ScheduledPool, type SharedLimits } from './scheduler/index.js';
import { buildServer, type Services } from './server.js';
import { gracefulClose } from './shutdown.js';
import { Statistics } from './statistics.js';
import { Database } from './store/database.js';
import { FunctionStore } from './store/functions.js';
import { InvocationStore } from './store/invocations.js';
import { Templates } from './templates.js';

export interface Limits {
  /** Invocations admitted at once, of all functions and whatever they wait for: what memory has to hold. */
  inFlightMax: number;
  /** Bytes of all events that were accepted to run later: what the disk has to hold. */
  laterBytesMax: number;
  bootTimeoutMs: number;
  /** For a client to write the headers of a request in. */
  headersMs: number;
  /** For a client to write a whole request in. */
  requestMs: number;
}

const LIMITS: Readonly<Limits> = Object.freeze({
  // Each may hold a request and an answer of 16 MiB, but typically holds kilobytes.
  inFlightMax: 4096,
  laterBytesMax: 1024 ** 3,
  bootTimeoutMs: 60_000,
  headersMs: 20_000,
  requestMs: 900_000, // no invocation may take longer
});

export interface StartOptions {
  /** 0 takes any free port. */
  port: number;
  /** Who can reach the server; there is no authentication yet, so only this host by default. */
  host?: string;
  /** Holds functions, images and checkpoints; made if needed. */
  dataDir: string;
  /** Pool processes that share the machines; 0: they are in worker threads of this process. See docs/scheduling.md. */
  processes?: number;
  /** Where invocations run; machines of this host by default. It is closed with the server. */
  pool?: Pool;
  /** What guests see; images in the data directory by default. */
  layers?: Layers;
  limits?: Partial<Limits>;
  /** What all functions share of this host; see defaultLimits() for what is not said. */
  scheduling?: Partial<SharedLimits>;
  bodyBytesMax?: number;
  /** How long close() lets invocations that are under way go on; as long as they take, if left out. */
  drainMs?: number;
  logLevel?: 'debug' | 'info' | 'warn' | 'error' | 'silent';
}

export interface RunningServer {
  url: string;
  /**
   * Admits no invocation any more, and answers those that are under way: with MAYFLY_SERVER_CLOSING when their time is
   * over. Until then everything else is answered as before, and /readyz says that requests should go elsewhere.
   */
  close(): Promise<void>;
}

export async function startServer(options: StartOptions): Promise<RunningServer> {
  const { dataDir, port, host = '127.0.0.1' } = options;
  const database = await Database.open(dataDir);
  const pool = await openPool(options).catch(async (error: unknown) => {
    await database.close();
    throw error;
  });
  const close = async () => {
    await pool.close();
    await database.close();
  };
  try {
    const layers =
      options.layers ?? new ImageLayers(await ImageStore.open(join(dataDir, 'images')));
    const draining = new AbortController();
    const services = assemble(database, pool, layers, options, draining.signal);
    const logger = pino({ level: options.logLevel ?? 'warn' }, pino.destination(2));
    const { bodyBytesMax, limits } = options;
    const { headersMs, requestMs } = { ...LIMITS, ...limits };
    const app = buildServer(services, {
      ...{ logger, headersMs, requestMs },
      ...(bodyBytesMax && { bodyBytesMax }),
    });
    const closeServer = gracefulClose(app);
    const url = await listen(app, port, host);
    services.later.resume();
    const drain = async () => {
      draining.abort();
      const laterOver = services.later.close();
      await pool.close(options.drainMs); // what goes on behind an answer, too
      await Promise.all([closeServer(options.drainMs), laterOver]);
      await services.invocations.close();
      await database.close();
    };
    return { url, close: drain };
  } catch (error) {
    await close();
    throw error;
  }
}

function assemble(
  database: Database,
  pool: ScheduledPool,
  layers: Layers,
  { limits }: StartOptions,
  onDrain: AbortSignal,
): Services {
  const { inFlightMax, laterBytesMax, bootTimeoutMs } = { ...LIMITS, ...limits };
  const templates = new Templates(pool, layers, bootTimeoutMs);
  const registry = new Registry(templates, new FunctionStore(database));
  const invocations = new InvocationStore(database);
  const statistics = new Statistics();
  const observe: Observer = (trace, rewindMicros) => {
    if (!registry.has(trace.function)) return; // It was removed, and is not to come back as a label.
    statistics.of(trace.function).add(trace, rewindMicros);
  };
  const invoker = new Invoker(registry, pool, invocations, observe, inFlightMax);
  const later = new LaterInvocations(registry, invoker, invocations, laterBytesMax);
  return { registry, invoker, later, invocations, statistics, onDrain };
}

/** Machines are loaded on demand: a server with another pool needs neither KVM nor the native addon. */
async function openPool(options: StartOptions): Promise<ScheduledPool> {
  const pool = options.pool ?? (await machinePool(options));
  return new ScheduledPool(pool, { ...defaultLimits(), ...options.scheduling });
}

async function machinePool({ dataDir, processes = 0 }: StartOptions): Promise<Pool> {
  const { kvm, MachinePool, MachineProcesses } = await import('@mayfly/vmm');
  kvm.Kvm.open().close(); // a host without it is told now, not at the first deployment
  const directory = join(dataDir, 'templates');
  const checkpoints = join(dataDir, 'checkpoints');
  if (processes === 0) return new MachinePool({ directory, checkpoints });
  return new MachineProcesses({ directory, checkpoints, processes });
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
