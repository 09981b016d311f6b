/** What a function is told about its invocation, and the work that it goes on with after its answer. */
import type { HostHead } from '@mayfly/protocol';

/** The last argument of a fetch function, the second one of a handler. */
export interface InvocationContext {
  id: string;
  deadlineMs: number;
  generation: string;
  /** Milliseconds until the host stops the guest. */
  remainingMs(): number;
  /** The invocation goes on until this promise is settled; the caller has the answer before. A rejection is logged. */
  waitUntil(promise: unknown): void;
}

/** Promises that an invocation waits for after its answer. */
export class Background {
  #open = 0;
  #settled: (() => void) | undefined;

  get pending(): boolean {
    return this.#open > 0;
  }

  add(promise: unknown): void {
    this.#open++;
    Promise.resolve(promise)
      .catch((error: unknown) => console.error('waitUntil:', error))
      .then(() => {
        if (--this.#open === 0) this.#settled?.();
      });
  }

  /** Resolves when nothing is left; more may be added until then. */
  async settled(): Promise<void> {
    while (this.#open > 0) {
      await new Promise<void>((resolve) => {
        this.#settled = resolve;
      });
    }
  }
}

export function contextOf(head: HostHead, background: Background): InvocationContext {
  const { id, deadlineMs, generation } = head;
  return {
    id,
    deadlineMs,
    generation,
    remainingMs: () => Math.max(0, deadlineMs - Date.now()),
    waitUntil: (promise) => background.add(promise),
  };
}
