/** Changes a store until its standard input ends; for waiting.test.ts. Prints a line when it is alone there. */
import { once } from 'node:events';
import { CheckpointStore } from '@mayfly/vmm/checkpoint';

const store = await CheckpointStore.open(process.argv[2]!);
await store.alone(async () => {
  process.stdout.write('alone\n');
  await once(process.stdin.resume(), 'end');
});
