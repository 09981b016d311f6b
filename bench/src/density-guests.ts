/**
 * A process full of clones that live on: started with GUEST STORE-FOLDER COUNT. Each answers an event, is rewound and kept. A
 * batch is a line of JSON: {clones, privateKib}. After the last it prints {alive}, lets each answer once more when a line
 * comes in, says how many did ({answered}), and ends with its input.
 */
import { createInterface } from 'node:readline';
import { CLONE_SETTINGS, type Clone, Stock, Supplies } from '@mayfly/vmm/clones';
import { availableKib, privateKib } from './host-memory.js';
import { checkAnswer, eventFrame, type Guest, loadTemplate } from './templates.js';

const BATCH = 25;
const DEADLINE_MS = 300_000;
/** Less than this left: the host is full. */
const LEFT_KIB_MIN = 1 << 20;

const [guest, folder, count] = process.argv.slice(2) as [Guest, string, string];
const print = (line: object) => console.log(JSON.stringify(line));

const supplies = new Supplies({ shells: 0 });
const stock = new Stock(await loadTemplate(guest, folder), supplies, {
  ...CLONE_SETTINGS,
  memory: 'lazy',
});
const frame = eventFrame();

async function answer(clone: Clone): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  checkAnswer((await clone.invoke(frame, deadline)).head);
  clone.rewind(); // one that cannot be rewound is kept as it is
}

async function addClone(): Promise<Clone> {
  const clone = stock.make();
  await answer(clone);
  return clone;
}

const clones = [await addClone()];
while (clones.length < Number(count)) {
  const before = privateKib();
  const size = Math.min(BATCH, Number(count) - clones.length);
  for (let i = 0; i < size; i++) clones.push(await addClone());
  print({ clones: size, privateKib: privateKib() - before });
  if (availableKib() < LEFT_KIB_MIN) break;
}
print({ alive: clones.length });
for await (const _ of createInterface({ input: process.stdin })) {
  let answered = 0;
  for (const clone of clones) {
    if (!clone.ready) continue; // not rewound: the product would replace it
    await answer(clone);
    answered++;
  }
  print({ answered });
}
for (const clone of clones) clone.close();
stock.close();
