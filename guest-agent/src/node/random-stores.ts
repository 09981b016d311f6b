/**
 * Random bytes that packages keep in advance: nanoid and uuid fill a buffer, hand out pieces of it, and fill it again when it is
 * used up. One that was filled before the template was made would give each clone the same pieces, so it is filled anew in
 * each. Nothing in a buffer says that it is such a store, but its size does: what is used at once, as a key or an
 * id, is smaller, and what comes in a new buffer is mostly meant to stay.
 */
import crypto from 'node:crypto';

/** Of a buffer that was there before. */
const FILLED_MIN = 128;
/** Of one that was made for its bytes. */
const MADE_MIN = 1024;
/** The oldest are forgotten: what fills so many keeps none of them. */
const STORES_MAX = 64;

interface Store {
  memory: WeakRef<ArrayBufferLike>;
  offset: number;
  length: number;
}

const stores: Store[] = [];
const fillSync = crypto.randomFillSync;

type Fill = (this: unknown, ...args: unknown[]) => unknown;
type Fillers = Record<'randomFillSync' | 'randomFill' | 'getRandomValues' | 'randomBytes', Fill>;

/** Takes the place of the functions that fill; module namespaces are the caller's to bring up to date. */
export function watchRandomStores(): void {
  const fillers = crypto as unknown as Fillers;
  watch(fillers, 'randomFillSync', ([buffer, ...range]) => noteFilled(buffer, range));
  watch(fillers, 'randomFill', ([buffer, ...range]) => noteFilled(buffer, range));
  watch(fillers, 'randomBytes', (_args, bytes) => noteMade(bytes));
  const web = Object.getPrototypeOf(crypto.webcrypto) as Fillers;
  watch(web, 'getRandomValues', ([buffer]) => noteFilled(buffer, []));
}

function watch(
  owner: Fillers,
  name: keyof Fillers,
  note: (args: unknown[], result: unknown) => void,
): void {
  const own = owner[name];
  const watched = {
    // A method, as it was: it has the name and no prototype.
    [name](this: unknown, ...args: unknown[]): unknown {
      const result = Reflect.apply(own, this, args);
      note(args, result);
      return result;
    },
  }[name] as Fill;
  Object.defineProperty(watched, 'length', { value: own.length, configurable: true });
  owner[name] = watched;
}

/** @param range offset and size, in elements, as far as given */
function noteFilled(buffer: unknown, [from, count]: unknown[]): void {
  if (!ArrayBuffer.isView(buffer)) return;
  const size = (buffer as Uint8Array).BYTES_PER_ELEMENT ?? 1;
  const offset = typeof from === 'number' ? from * size : 0;
  const length = typeof count === 'number' ? count * size : buffer.byteLength - offset;
  if (length >= FILLED_MIN) remember(buffer.buffer, buffer.byteOffset + offset, length);
}

function noteMade(bytes: unknown): void {
  if (!(bytes instanceof Uint8Array) || bytes.byteLength < MADE_MIN) return; // with a callback it returns nothing
  remember(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function remember(memory: ArrayBufferLike, offset: number, length: number): void {
  const known = stores.some(
    (store) =>
      store.offset === offset && store.length === length && store.memory.deref() === memory,
  );
  if (known) return;
  if (stores.length === STORES_MAX) stores.shift();
  stores.push({ memory: new WeakRef(memory), offset, length });
}

/** Fills anew what is still there. */
export function refillRandomStores(): void {
  for (const { memory, offset, length } of stores) {
    const bytes = memory.deref();
    if (bytes === undefined || bytes.byteLength < offset + length) continue;
    fillSync(new Uint8Array(bytes, offset, length));
  }
}
