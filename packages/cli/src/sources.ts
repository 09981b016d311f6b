/** What a deployment is made of, watched for changes. */
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { dirname, relative, sep } from 'node:path';
import { type FSWatcher, watch } from 'chokidar';
import { foldersLeftOut } from './deployment.js';
import { unreadable } from './output.js';

/** Editors save in several steps. */
const QUIET_MS = 150;

export class Sources {
  readonly #path: string;
  #watcher: FSWatcher | undefined;
  #leftOut = '';
  #changed = true;
  #wake = () => {};

  /** @param path of a file or folder that is deployed */
  constructor(path: string) {
    this.#path = path;
  }

  /** Once at the start, and after each burst of changes, until the signal. */
  async *saves(signal: AbortSignal): AsyncGenerator<void> {
    const stop = () => this.#wake();
    signal.addEventListener('abort', stop);
    try {
      while (!signal.aborted) {
        if (!this.#changed) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
        }
        if (signal.aborted) return;
        this.#changed = false;
        await this.#watch(); // first: what is saved while a deployment is made is for the next
        yield;
      }
    } finally {
      signal.removeEventListener('abort', stop);
      await this.#watcher?.close();
    }
  }

  /** Files that were found to belong to it, wherever they lie. */
  add(files: readonly string[]): void {
    this.#watcher?.add([...files]);
  }

  /** The folder, and anew when mayfly.json says that other parts of it are deployed. */
  async #watch(): Promise<void> {
    const place = await stat(this.#path).catch((cause: unknown) => {
      throw unreadable(this.#path, cause);
    });
    const isFolder = place.isDirectory();
    const folder = isFolder ? this.#path : dirname(this.#path);
    const names = isFolder ? await foldersLeftOut(folder) : [];
    if (this.#watcher && names.join() === this.#leftOut) return;
    await this.#watcher?.close();
    this.#leftOut = names.join();
    const ignored = (at: string) => {
      const inside = relative(folder, at).split(sep);
      return inside[0] !== '..' && inside.some((name) => names.includes(name));
    };
    const changed = () => {
      this.#changed = true;
      this.#wake();
    };
    // What lies beside a file counts, as an import that is missing yet; not all that is below.
    const reach = isFolder ? {} : { depth: 0 };
    this.#watcher = watch(folder, { ignored, ignoreInitial: true, ...reach }).on('all', changed);
    await once(this.#watcher, 'ready');
  }
}
