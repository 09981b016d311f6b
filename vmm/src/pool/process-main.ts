/**
 * A pool process: a MachinePool for a server in another process, which speaks to it over the socket that it has started it
 * with, and ends it by closing that.
 */
import { Socket } from 'node:net';
import { MachinePool } from './machine-pool.js';
import { PoolHost } from './pool-host.js';
import {
  type FromProcess,
  JOURNAL_FD,
  type ProcessSettings,
  SOCKET_FD,
  type ToProcess,
} from './process-messages.js';
import { Wire } from './wire.js';

// A terminal sends them to all of its processes: what they mean is up to the server.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});

const { worker, ...settings } = JSON.parse(process.argv[2] ?? '{}') as ProcessSettings;
const pool = new MachinePool({
  ...settings,
  journal: JOURNAL_FD,
  ...(worker !== undefined && { worker: new URL(worker) }),
});
const wire = new Wire<ToProcess, FromProcess>(
  new Socket({ fd: SOCKET_FD }),
  (message) => host.receive(message),
  () => process.exit(),
);
const host = new PoolHost(pool, (message) => wire.send(message));
wire.send({ ready: true });
