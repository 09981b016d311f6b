/** A process that has its modules and nothing else: from a checkpoint on disk to the guest's first answer. Prints microseconds. */
import { CLONE_SETTINGS, Stock, Supplies } from '@mayfly/vmm/clones';
import { checkAnswer, eventFrame, type Guest, loadTemplate } from './templates.js';

const DEADLINE_MS = 300_000;

const [guest, folder] = process.argv.slice(2) as [Guest, string];
const start = performance.now();
const supplies = new Supplies({ shells: 0 });
const stock = new Stock(await loadTemplate(guest, folder), supplies, CLONE_SETTINGS);
const clone = stock.make();
const { head } = await clone.invoke(eventFrame(), start + DEADLINE_MS);
console.log((performance.now() - start) * 1000);
checkAnswer(head);
clone.close();
stock.close();
supplies.close();
