/** Whether a program is idle: nothing that it waits for will come soon, or it has done nothing but look at its clock for a while. */
import type { Stop } from '../machine/machine.js';

/** A program that sleeps for less is not idle yet. */
export const IDLE_MS = 100;
/** Servers wake up ten times a second or more often, for nothing (redis, JVMs). What is not done after so many short turns is nothing. */
const TICKING_MS = 1000;
/** After the last client: who fills a server runs more than one, one after the other. */
const ALONE_MS = 1000;

/** Of a server whose ports are published. */
export interface Clients {
  /** Those that are there now. */
  readonly clients: number;
  /** How many have been accepted, ever. */
  readonly connections: number;
}

export class IdleWatch {
  readonly #clients: Clients | undefined;
  /** Each turn since then ended with all threads asleep, within a slice. */
  #since: number | undefined;
  /** There have been no clients since then, nor has one come and gone. */
  #alone: number | undefined;
  #served = 0;

  /** A server with clients is not idle before some have come, and all have gone. */
  constructor(clients?: Clients) {
    this.#clients = clients;
  }

  /**
   * Looks at how a turn of the guest ended.
   *
   * @param sleepMs until the guest's next timer is due; Infinity without one
   * @param now performance.now()
   */
  isIdle({ kind }: Pick<Stop, 'kind'>, sleepMs: number, now: number): boolean {
    const alone = this.#clients === undefined || this.#haveGone(this.#clients, now);
    if (kind !== 'idle') {
      this.#since = undefined;
      return false;
    }
    this.#since ??= now;
    return alone && (sleepMs >= IDLE_MS || now - this.#since >= TICKING_MS);
  }

  #haveGone({ clients, connections }: Clients, now: number): boolean {
    if (clients > 0 || connections !== this.#served) this.#alone = undefined;
    else if (connections > 0) this.#alone ??= now;
    this.#served = connections;
    return this.#alone !== undefined && now - this.#alone >= ALONE_MS;
  }
}
