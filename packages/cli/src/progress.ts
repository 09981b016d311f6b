/** Progress of long work, on a terminal only: one line that replaces itself and is gone at the end. */
import type { ImportProgress } from '@mayfly/image';
import { formatSize } from './units.js';

/** Work that takes less than this are not worth a line. */
const QUIET_MS = 300;
const INTERVAL_MS = 100;
const CLEAR_LINE = '\r\u001b[K';

export interface Terminal {
  isTTY?: boolean;
  write(text: string): unknown;
}

/** What a line begins with that may be printed while progress is shown: it takes its place. */
export const lineStart = ({ isTTY }: Terminal): string => (isTTY === true ? CLEAR_LINE : '');

export class Progress {
  readonly #terminal: Terminal;
  #next = performance.now() + QUIET_MS;
  #shown = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  show(progress: ImportProgress): void {
    this.#print(() => progressText(progress));
  }

  /** For work that tells of each piece that is done; `totalBytes` where it is known. */
  counter(what: string, totalBytes?: number): (bytes: number) => void {
    let doneBytes = 0;
    return (bytes) => {
      doneBytes += bytes;
      this.#print(() => countText(what, doneBytes, totalBytes));
    };
  }

  /** For work of so many pieces. */
  pieces(what: string, total: number): () => void {
    let done = 0;
    return () => {
      done++;
      this.#print(() => `mayfly: ${what}: ${done} of ${total}`);
    };
  }

  #print(text: () => string): void {
    const now = performance.now();
    if (this.#terminal.isTTY !== true || now < this.#next) return;
    this.#next = now + INTERVAL_MS;
    this.#shown = true;
    this.#terminal.write(`${CLEAR_LINE}${text()}`);
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
  return countText(`${what}${which}`, doneBytes, totalBytes);
}

function countText(what: string, doneBytes: number, totalBytes?: number): string {
  const done = `mayfly: ${what}: ${formatSize(doneBytes)}`;
  if (totalBytes === undefined) return done;
  const percent = totalBytes === 0 ? 100 : Math.floor((100 * doneBytes) / totalBytes);
  return `${done} of ${formatSize(totalBytes)} (${percent} %)`;
}
