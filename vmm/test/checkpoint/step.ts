/** step.js DIR create | create-difference | remove: one change of a store, for faults in the middle of it. */
import { CheckpointStore } from '../../src/checkpoint/store.js';
import { captured, memoryOf } from './scratch.js';
import { CONTENT } from './step-content.js';

const [dir, step] = process.argv.slice(2) as [string, string];
const store = await CheckpointStore.open(dir);
if (step === 'create') {
  await store.create({ name: 'new' }, captured(dir, memoryOf(CONTENT.new)));
} else if (step === 'create-difference') {
  const options = { name: 'new', parent: 'middle' };
  await store.create(options, captured(dir, memoryOf(CONTENT.new)), memoryOf(CONTENT.middle));
} else {
  await store.remove('middle');
}
