/** Whether a program is idle: nothing that it waits for will come soon, or it has done nothing but look at its clock for a while. */
import type { Stop } from '../machine/machine.js';

/** A program that sleeps for less is not idle yet. */
export const IDLE_MS = 100;
/** Servers wake up ten times a second or more often, for nothing (redis, JVMs). What is not done after so many short turns is nothing. */
const TICKING_MS = 1000;

export class IdleWatch {
  /** Each turn since then ended with all threads asleep, within a slice. */
  #since: number | undefined;

  /**
   * Looks at how a turn of the guest ended.
   *
   * @param sleepMs until the guest's next timer is due; Infinity without one
   * @param now performance.now()
   */
  isIdle({ kind }: Pick<Stop, 'kind'>, sleepMs: number, now: number): boolean {
    if (kind !== 'idle') {
      this.#since = undefined;
      return false;
    }
    this.#since ??= now;
    return sleepMs >= IDLE_MS || now - this.#since >= TICKING_MS;
  }
}
