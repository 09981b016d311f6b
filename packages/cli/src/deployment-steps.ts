/** The steps of a deployment, a line for each when it is over. */
import type { DeploymentStep } from '@mayfly/protocol/api';
import type { Io } from './output.js';
import { formatSize } from './units.js';

type Step = 'bundle' | 'upload' | DeploymentStep['step'];

export class DeploymentSteps {
  readonly #io: Io;
  #step: Step | undefined;
  #bytes: number | undefined;
  #began = performance.now();

  constructor(io: Io) {
    this.#io = io;
  }

  /** Ends the step before; `bytes`: what this one has to do with. */
  begin(step: Step, bytes?: number): void {
    this.end();
    this.#step = step;
    this.#bytes = bytes;
  }

  /** What the step that is under way made, as far as it is known at its end only. */
  made(bytes: number): void {
    this.#bytes = bytes;
  }

  end(): void {
    const now = performance.now();
    if (this.#step !== undefined) {
      const size = this.#bytes === undefined ? '' : formatSize(this.#bytes);
      const time = `${((now - this.#began) / 1000).toFixed(2)} s`;
      this.#io.stderr(`  ${this.#step.padEnd(8)}${size.padStart(10)}${time.padStart(12)}\n`);
    }
    this.#step = undefined;
    this.#began = now;
  }
}
