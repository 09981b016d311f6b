/** Progress of long builds, on a terminal only: one line that replaces itself and is gone at the end. */
import type { ImportProgress } from '@mayfly/image';
import { formatSize } from './units.js';

/** Builds that take less than this are not worth a line. */
const QUIET_MS = 300;
const INTERVAL_MS = 100;
const CLEAR_LINE = '\r\u001b[K';

export interface Terminal {
  isTTY?: boolean;
  write(text: string): unknown;
}

export class Progress {
  readonly #terminal: Terminal;
  #next = performance.now() + QUIET_MS;
  #shown = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  show(progress: ImportProgress): void {
    const now = performance.now();
    if (this.#terminal.isTTY !== true || now < this.#next) return;
    this.#next = now + INTERVAL_MS;
    this.#shown = true;
    this.#terminal.write(`${CLEAR_LINE}${progressText(progress)}`);
  }

  /** To be called before anything else is printed. */
  end(): void {
    if (this.#shown) this.#terminal.write(CLEAR_LINE);
    this.#shown = false;
  }
}

export function progressText({
  step,
  doneBytes,
  totalBytes,
  layer,
  layers,
}: ImportProgress): string {
  const what = step === 'write' ? 'writing image' : 'reading';
  const which = layer === undefined ? '' : ` layer ${layer} of ${layers}`;
  const percent = totalBytes === 0 ? 100 : Math.floor((100 * doneBytes) / totalBytes);
  return `mayfly: ${what}${which}: ${formatSize(doneBytes)} of ${formatSize(totalBytes)} (${percent} %)`;
}
