/**
 * Writes to a store until it is killed, and tells on stdout of each change: before it asks for it ("try"), and when it was
 * acknowledged ("done"). For store.test.ts.
 */
import { writeSync } from 'node:fs';
import { Database } from '../src/store/database.js';
import { FunctionStore } from '../src/store/functions.js';
import { change, type Step } from './store-steps.js';

const [dir = '', from = '0'] = process.argv.slice(2);
const say = (word: 'try' | 'done', step: Step) => writeSync(1, `${JSON.stringify([word, step])}\n`);

const store = new FunctionStore(await Database.open(dir));
for (let n = Number(from); ; n++) {
  const step: Step = { n, kind: n % 7 === 6 ? 'remove' : n % 3 === 2 ? 'update' : 'add' };
  say('try', step);
  await change(store, step);
  say('done', step);
}
