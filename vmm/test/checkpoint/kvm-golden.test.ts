/** The golden checkpoint of this version runs. */
import { closeSync, createReadStream, existsSync } from 'node:fs';
import t from 'tap';
import { CheckpointStore, importCheckpoint } from '../../src/checkpoint/index.js';
import { machineFromState } from '../../src/machine/machine-state.js';
import { runToEnd } from '../../src/machine/run-to-end.js';
import { golden, goldenFile, STREAM } from './golden.js';
import { scratchDir } from './scratch.js';

const skip = existsSync('/dev/kvm') ? false : 'there is no /dev/kvm';

/** Not by load(): there is no guest kernel in it whose ABI would matter. */
async function machineOf(store: CheckpointStore, name: string) {
  const chain = await store.chain(await store.lineage(await store.get(name)));
  const { manifest, state } = chain.at(-1)!;
  const memoryFd = await store.openMemory(chain);
  const images = manifest.layers.map(({ digest }) => store.layers.path(digest));
  const source = { memoryFd, memorySize: manifest.memory.size, images, state };
  const machine = machineFromState(source, { stdout() {}, stderr() {} });
  closeSync(memoryFd);
  return machine;
}

t.test('registers, memory and streams are those that were stored', { skip }, async (t) => {
  const dir = scratchDir();
  t.teardown(() => dir.remove());
  const store = await CheckpointStore.open(dir.path);
  await importCheckpoint(store, createReadStream(goldenFile));
  for (const [name, { exitCode }] of Object.entries(golden)) {
    const machine = await machineOf(store, name);
    t.ok(machine.devices.vsock.stream(STREAM.hostPort, STREAM.guestPort));
    t.same(await runToEnd(machine, { timeoutMs: 60_000 }), { exitCode }, name);
    machine.close();
  }
});
