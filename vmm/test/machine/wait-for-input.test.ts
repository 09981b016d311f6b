/** A guest that waits for ever keeps its process alive, as a program that sleeps does. */
import t from 'tap';
import type { Machine } from '../../src/machine/machine.js';
import { waitForInput } from '../../src/machine/run-to-end.js';

const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

t.test('waiting without a deadline holds the event loop until there is input', async (t) => {
  const bus: { onInput?: (() => void) | undefined } = {};
  const before = timers();
  const waiting = waitForInput({ bus } as unknown as Machine, undefined, Number.POSITIVE_INFINITY);
  t.equal(timers(), before + 1);
  bus.onInput?.();
  await waiting;
  t.equal(timers(), before);
  t.equal(bus.onInput, undefined);
});
