/** A worker thread's entry: boots machines and runs invocations in its own clones. */
import { MayflyError } from '@mayfly/protocol';
import Piscina from 'piscina';
import { GuestMemory } from '../kvm/index.js';
import { Supplies } from '../machine/supplies.js';
import { boot } from './boot.js';
import type { Clone } from './clone.js';
import { CLONE_SETTINGS, type CloneSettings } from './clone-settings.js';
import type {
  BootResult,
  InvokeReply,
  InvokeTask,
  StartTask,
  StopTask,
  StoreTask,
  Task,
  TaskError,
} from './messages.js';
import { Stock } from './stock.js';
import type { Template } from './template.js';

const settings: CloneSettings = { ...CLONE_SETTINGS, ...Piscina.workerData };
const supplies = new Supplies(settings);

/** Clones that could not be rewound, since this thread started. */
let replaced = 0;

/** Micros that the last rewind of a clone took. */
const rewinds = new WeakMap<Clone, number>();

const stocks = new Map<number, Stock>();

function stockOf(task: InvokeTask): Stock {
  const known = stocks.get(task.templateId);
  if (known !== undefined) return known;
  if (task.template === undefined) {
    throw new MayflyError('MAYFLY_TEMPLATE_NOT_HERE', 'this worker has not seen the template');
  }
  return addStock(task.template);
}

function addStock(template: Template): Stock {
  const stock = new Stock(template, supplies, settings);
  stocks.set(template.id, stock);
  return stock;
}

/** The clone of this number in its first state: it may be used and is rewound now, and is made if there is none. */
function takeClone(stock: Stock, number: number): Clone {
  const clone = stock.idle.get(number);
  stock.idle.delete(number);
  return clone === undefined ? newClone(stock) : renewed(stock, clone);
}

function newClone(stock: Stock): Clone {
  const clone = stock.make();
  setImmediate(addShells);
  return clone;
}

/** One at a time: invocations come first. */
function addShells(): void {
  if (supplies.addShell()) setImmediate(addShells);
}

/** The clone, rewound, or its replacement. */
function renewed(stock: Stock, clone: Clone): Clone {
  const started = performance.now();
  if (clone.rewind()) {
    rewinds.set(clone, (performance.now() - started) * 1000);
    stock.learn(clone);
    return clone;
  }
  replaced++;
  clone.close();
  return newClone(stock);
}

/** Wall-clock milliseconds that all threads of the process share. */
const sharedNow = () => performance.timeOrigin + performance.now();

async function invoke(task: InvokeTask): Promise<InvokeReply> {
  const stock = stockOf(task);
  const taken = performance.now();
  const clone = takeClone(stock, task.clone);
  const { abort } = task;
  const started = performance.now();
  const cloneMicros = (started - taken) * 1000;
  const rewindMicros = rewinds.get(clone);
  const queueMicros = Math.max(0, (sharedNow() - task.queuedAt) * 1000);
  const stopped = () => abort !== undefined && Atomics.load(abort, 0) !== 0;
  try {
    const frame = await clone.invoke(task.frame, started + task.timeoutMs, stopped);
    const guestMicros = (performance.now() - started) * 1000;
    const network = clone.egress;
    const logs = clone.takeDenials();
    putBack(stock, task.clone, clone);
    const { rewoundPages } = clone;
    const { head, body } = frame;
    const timing = { guestMicros, queueMicros, cloneMicros, rewindMicros };
    return { head, body, ...timing, rewoundPages, network, logs, replaced };
  } catch (error) {
    clone.close(); // whatever state a failed guest is in, nobody else gets it
    throw error;
  }
}

/**
 * The next invocation may take the clone at once and then rewinds it itself; otherwise it happens off the critical
 * path, when the answer is on its way.
 */
function putBack(stock: Stock, number: number, clone: Clone): void {
  if (stock.forgotten) {
    clone.close();
    return;
  }
  stock.idle.set(number, clone);
  setImmediate(() => {
    if (stock.idle.get(number) === clone) stock.idle.set(number, renewed(stock, clone));
  });
}

function start({ templateId, template, clone }: StartTask): void {
  const stock = stocks.get(templateId) ?? addStock(template);
  if (!stock.idle.has(clone)) stock.idle.set(clone, newClone(stock));
}

function stop({ templateId, clone }: StopTask): void {
  const stock = stocks.get(templateId);
  stock?.idle.get(clone)?.close();
  stock?.idle.delete(clone);
}

function forget(templateId: number): void {
  const stock = stocks.get(templateId);
  if (stock === undefined) return;
  stocks.delete(templateId);
  stock.close();
}

async function store({ template, directory, ...task }: StoreTask): Promise<void> {
  const { CheckpointStore } = await import('../checkpoint/store.js'); // most workers never need it
  const { memoryFd, memorySize, state, images } = template;
  const memory = GuestMemory.readonlyFile(memoryFd, memorySize);
  try {
    const { name, labels, command } = task;
    const checkpoints = CheckpointStore.ofOpened(directory);
    await checkpoints.create({ name, labels }, { memory, state, images, command });
  } finally {
    memory.close();
  }
}

/** Piscina's entry point. Errors come back as data with their codes. */
export default async function run(
  task: Task,
): Promise<BootResult | InvokeReply | TaskError | undefined> {
  try {
    if (task.kind === 'boot') return await boot(task);
    if (task.kind === 'invoke') return await invoke(task);
    if (task.kind === 'start') start(task);
    else if (task.kind === 'stop') stop(task);
    else if (task.kind === 'store') await store(task);
    else forget(task.templateId);
    return undefined;
  } catch (error) {
    return { error: describe(error) };
  }
}

function describe(error: unknown): TaskError['error'] {
  if (!(error instanceof Error)) return { code: 'MAYFLY_INTERNAL', message: String(error) };
  const code = error instanceof MayflyError ? error.code : 'MAYFLY_INTERNAL';
  const detail = typeof error.cause === 'string' ? error.cause : undefined;
  const message = error.message;
  return detail === undefined ? { code, message } : { code, message, detail };
}
