/**
 * Who runs next on a worker thread. Guests take turns; one that waits for time or input is parked and takes none.
 *
 *   start() ─► turn ──┬─ due now ─► ready, behind the others ─► turn
 *                     ├─ due later ─► parked ── the time is there, or wake() ─► ready
 *                     └─ undefined ─► gone
 *
 * Between two turns the thread serves its events: messages, timers, sockets.
 */

export interface Turning {
  /** Runs for a while. When it wants to go on (performance.now() ms, Infinity: when woken); undefined: never again. */
  turn(): number | undefined;
  /** It waits now (true), or its next turn is on its way. Not told when a turn follows a turn, nor of the end. */
  onParked(parked: boolean): void;
}

/** A timer may come so much too early (ms): not worth another one. */
const EARLY = 0.2;
/** Longer times overflow Node's timers; it is parked again. */
const TIMER_MAX = 2 ** 30;

export class Turns {
  readonly #ready: Turning[] = [];
  readonly #parked = new Map<Turning, number>();
  #pumping = false;
  #timer: NodeJS.Timeout | undefined;
  #timerDue = Number.POSITIVE_INFINITY;

  /** Its first turn is now: a short invocation does not wait for long ones. */
  start(one: Turning): void {
    this.#take(one);
  }

  /** Its reason to wait may be gone. Whoever is not parked has a turn to come, or none. */
  wake(one: Turning): void {
    if (!this.#parked.delete(one)) return;
    one.onParked(false);
    this.#enqueue(one);
  }

  /** It takes no more turns. */
  leave(one: Turning): void {
    if (this.#parked.delete(one)) return;
    const at = this.#ready.indexOf(one);
    if (at >= 0) this.#ready.splice(at, 1);
  }

  #take(one: Turning): void {
    const due = one.turn();
    if (due === undefined) return;
    if (due <= performance.now()) this.#enqueue(one);
    else this.#park(one, due);
  }

  #park(one: Turning, due: number): void {
    this.#parked.set(one, due);
    one.onParked(true);
    if (due < this.#timerDue) this.#setTimer(due);
  }

  #enqueue(one: Turning): void {
    this.#ready.push(one);
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(this.#pump);
  }

  /** One turn between two looks at the thread's events. */
  readonly #pump = (): void => {
    const one = this.#ready.shift();
    if (one !== undefined) this.#take(one);
    this.#pumping = this.#ready.length > 0;
    if (this.#pumping) setImmediate(this.#pump);
  };

  #setTimer(due: number): void {
    clearTimeout(this.#timer);
    this.#timerDue = due;
    if (due === Number.POSITIVE_INFINITY) return;
    const ms = Math.min(Math.max(Math.ceil(due - performance.now()), 0), TIMER_MAX);
    this.#timer = setTimeout(this.#ring, ms);
  }

  /** Those whose time has come get ready in its order. */
  readonly #ring = (): void => {
    const now = performance.now() + EARLY;
    const due: [Turning, number][] = [];
    let next = Number.POSITIVE_INFINITY;
    for (const parked of this.#parked) {
      if (parked[1] <= now) due.push(parked);
      else if (parked[1] < next) next = parked[1];
    }
    due.sort((a, b) => a[1] - b[1]);
    for (const [one] of due) this.wake(one);
    this.#setTimer(next);
  };
}
