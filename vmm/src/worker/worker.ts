/** A worker thread's entry: boots machines and runs invocations in its own clones. */
import { MayflyError } from '@mayfly/protocol';
import { GuestMemory } from '../kvm/index.js';
import { boot } from './boot.js';
import { Clone } from './clone.js';
import type { BootResult, BootTask, InvokeReply, InvokeTask, Task, TaskError } from './messages.js';
import type { Template } from './template.js';

/** What this thread has of one template. */
interface Stock {
  template: Template;
  memory: GuestMemory;
  /** Rewound, or used and about to be. */
  idle: Clone[];
  forgotten: boolean;
}

/** Clones that could not be rewound, since this thread started. */
let replaced = 0;

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
  const memory = GuestMemory.readonlyFile(template.memoryFd, template.memorySize, { huge: true });
  const stock = { template, memory, idle: [], forgotten: false };
  stocks.set(template.id, stock);
  return stock;
}

/** A clone in its first state: a rewound one, else a used one that is rewound now, else a new one. */
function takeClone(stock: Stock): Clone {
  const clone = stock.idle.pop();
  return clone === undefined ? new Clone(stock.template, stock.memory) : renewed(stock, clone);
}

/** The clone, rewound, or its replacement. */
function renewed(stock: Stock, clone: Clone): Clone {
  if (clone.rewind()) return clone;
  replaced++;
  clone.close();
  return new Clone(stock.template, stock.memory);
}

/** Wall-clock milliseconds that all threads of the process share. */
const sharedNow = () => performance.timeOrigin + performance.now();

async function invoke(task: InvokeTask): Promise<InvokeReply> {
  const stock = stockOf(task);
  const clone = takeClone(stock);
  const { abort } = task;
  const started = performance.now();
  const queueMicros = Math.max(0, (sharedNow() - task.queuedAt) * 1000);
  const stopped = () => abort !== undefined && Atomics.load(abort, 0) !== 0;
  try {
    const frame = await clone.invoke(task.frame, started + task.timeoutMs, stopped);
    const guestMicros = (performance.now() - started) * 1000;
    putBack(stock, clone);
    const { rewoundPages } = clone;
    const { head, body } = frame;
    return { head, body, guestMicros, queueMicros, rewoundPages, replaced };
  } catch (error) {
    clone.close(); // whatever state a failed guest is in, nobody else gets it
    throw error;
  }
}

/**
 * The next invocation may take the clone at once and then rewinds it itself; otherwise it happens off the critical
 * path, when the answer is on its way.
 */
function putBack(stock: Stock, clone: Clone): void {
  if (stock.forgotten) {
    clone.close();
    return;
  }
  stock.idle.push(clone);
  setImmediate(() => {
    const at = stock.idle.indexOf(clone);
    if (at >= 0) stock.idle[at] = renewed(stock, clone);
  });
}

function forget(templateId: number): void {
  const stock = stocks.get(templateId);
  if (stock === undefined) return;
  stocks.delete(templateId);
  stock.forgotten = true;
  for (const clone of stock.idle) clone.close();
  stock.memory.close();
}

/** The first clone waits where the template was made: the first caller does not wait for it. */
async function bootAndStock(task: BootTask): Promise<BootResult> {
  const result = await boot(task);
  if (result.template !== undefined) {
    const stock = addStock(result.template);
    stock.idle.push(new Clone(stock.template, stock.memory));
  }
  return result;
}

/** Piscina's entry point. Errors come back as data with their codes. */
export default async function run(
  task: Task,
): Promise<BootResult | InvokeReply | TaskError | undefined> {
  try {
    if (task.kind === 'boot') return await bootAndStock(task);
    if (task.kind === 'invoke') return await invoke(task);
    forget(task.templateId);
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
