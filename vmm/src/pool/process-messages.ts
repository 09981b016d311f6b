/** What crosses between a server and its pool processes: the interface Pool, as plain data. */
import type { AboutInvocation } from '../worker/messages.js';
import type { MachinePoolOptions } from './machine-pool.js';
import type { Place, TemplateSpec } from './types.js';

/** The argument of a pool process, as JSON. */
export type ProcessSettings = Omit<MachinePoolOptions, 'worker' | 'journal'> & { worker?: string };

/** File descriptors that a pool process is started with: the socket, and the file of its Journal. */
export const SOCKET_FD = 3;
export const JOURNAL_FD = 4;

export interface Calls {
  deploy(spec: TemplateSpec): { bootMicros: number; readyHead: unknown; held: boolean };
  /** Resolves when others can load the template from the store, if it is kept there. */
  settled(name: string): void;
  start(name: string, place: Place): void;
  stop(name: string, place: Place): void;
  unload(name: string): void;
  remove(name: string): void;
  prune(group: string, keep: readonly string[]): void;
  close(): void;
}

export interface ProcessInvocation {
  name: string;
  head: object;
  /** undefined: it comes piece by piece, when the invocation has begun. */
  body: Uint8Array | undefined;
  place: Place;
  timeoutMs: number;
  cpuMs: number | undefined;
  queuedAt: number;
}

/** `id` is that of a call or an invocation; in the journal, too. */
export type ToProcess = { id: number } & (
  | { call: keyof Calls; args: unknown[] }
  | { invoke: ProcessInvocation }
  | { abort: true }
  | { piece: Uint8Array }
  | { pieceEnd: true }
  | { taken: number }
);

/** What is told of a call, or of an invocation. */
export type AboutCall = { result: unknown } | { parked: boolean } | AboutInvocation;

export type FromProcess = { ready: true } | { workerLost: number } | ({ id: number } & AboutCall);
