/** A worker thread's entry: boots machines and runs invocations in its own clones. */
import { parentPort, workerData } from 'node:worker_threads';
import { MayflyError } from '@mayfly/protocol';
import { GuestMemory } from '../kvm/index.js';
import { Supplies } from '../machine/supplies.js';
import { boot } from './boot.js';
import type { Clone } from './clone.js';
import { CLONE_SETTINGS, type CloneSettings } from './clone-settings.js';
import type {
  BootResult,
  BootTask,
  InvokeTask,
  Learned,
  StartTask,
  StopTask,
  StoreTask,
  WorkerSettings,
} from './messages.js';
import { takeFaults } from './page-faults.js';
import { Stock } from './stock.js';
import { type Guests, poolTasks } from './tasks.js';
import type { Template } from './template.js';

const tellPool = (learned: Learned): void => parentPort?.postMessage(learned);

class Clones implements Guests<Clone> {
  replaced = 0;
  readonly #settings: CloneSettings;
  readonly #supplies: Supplies;
  readonly #stocks = new Map<number, Stock>();
  /** What the last rewind of a clone took. */
  readonly #rewindMicros = new WeakMap<Clone, number>();

  constructor(settings: CloneSettings) {
    this.#settings = settings;
    this.#supplies = new Supplies(settings);
  }

  boot(task: BootTask): Promise<BootResult> {
    return boot(task);
  }

  start({ templateId, template, clone }: StartTask): void {
    const stock = this.#stocks.get(templateId) ?? this.#addStock(template);
    if (!stock.idle.has(clone)) stock.idle.set(clone, this.#newClone(stock));
  }

  stop({ templateId, clone }: StopTask): void {
    const idle = this.#stocks.get(templateId)?.idle;
    idle?.get(clone)?.close();
    idle?.delete(clone);
  }

  /** It may be used and is rewound now, and is made if there is none. */
  take(task: InvokeTask): Clone {
    const stock = this.#stockOf(task);
    const clone = stock.idle.get(task.clone);
    stock.idle.delete(task.clone);
    return clone === undefined ? this.#newClone(stock) : this.#renewed(stock, clone);
  }

  /**
   * The next invocation may take the clone at once and then rewinds it itself; otherwise it happens off the critical
   * path, when the answer is on its way.
   */
  putBack(clone: Clone, { templateId, clone: number }: InvokeTask, sound: boolean): void {
    const stock = this.#stocks.get(templateId);
    if (stock === undefined || !sound) {
      clone.close(); // whatever state a failed guest is in, nobody else gets it
      return;
    }
    stock.idle.set(number, clone);
    setImmediate(() => {
      if (stock.idle.get(number) === clone) stock.idle.set(number, this.#renewed(stock, clone));
    });
  }

  forget(templateId: number): void {
    const stock = this.#stocks.get(templateId);
    if (stock === undefined) return;
    this.#stocks.delete(templateId);
    stock.close();
  }

  async store({ template, directory, ...task }: StoreTask): Promise<string> {
    const { CheckpointStore } = await import('../checkpoint/store.js'); // most workers never need it
    const { memoryFd, memorySize, state, images } = template;
    const memory = GuestMemory.readonlyFile(memoryFd, memorySize);
    try {
      const { name, labels, command } = task;
      const checkpoints = CheckpointStore.ofOpened(directory);
      const captured = { memory, state, images, command };
      return (await checkpoints.create({ name, labels }, captured)).id;
    } finally {
      memory.close();
    }
  }

  rewound(clone: Clone) {
    return { rewoundPages: clone.rewoundPages, rewindMicros: this.#rewindMicros.get(clone) };
  }

  #stockOf(task: InvokeTask): Stock {
    const known = this.#stocks.get(task.templateId);
    if (known !== undefined) return known;
    if (task.template === undefined) {
      throw new MayflyError('MAYFLY_TEMPLATE_NOT_HERE', 'this worker has not seen the template');
    }
    return this.#addStock(task.template);
  }

  #addStock(template: Template): Stock {
    const stock = new Stock(template, this.#supplies, this.#settings);
    this.#stocks.set(template.id, stock);
    return stock;
  }

  #newClone(stock: Stock): Clone {
    const clone = stock.make();
    takeFaults();
    setImmediate(this.#addShells);
    return clone;
  }

  /** One at a time: invocations come first. */
  readonly #addShells = (): void => {
    if (this.#supplies.addShell()) setImmediate(this.#addShells);
  };

  /** The clone, rewound, or its replacement. */
  #renewed(stock: Stock, clone: Clone): Clone {
    if (clone.ready) return clone;
    const started = performance.now();
    if (clone.rewind()) {
      this.#rewindMicros.set(clone, (performance.now() - started) * 1000);
      const workingSet = stock.learn(clone);
      takeFaults();
      if (workingSet !== undefined) tellPool({ templateId: stock.template.id, workingSet });
      return clone;
    }
    this.replaced++;
    clone.close();
    return this.#newClone(stock);
  }
}

export const run = poolTasks(new Clones({ ...CLONE_SETTINGS, ...(workerData as WorkerSettings) }));
