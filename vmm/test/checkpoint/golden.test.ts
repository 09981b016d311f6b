/** Checkpoints as earlier versions stored them, and as this one does: golden.ts makes them, kvm-golden.test.ts runs them. */
import { createReadStream, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { abi } from '@mayfly/protocol';
import t from 'tap';
import { CheckpointStore, diffCheckpoints, importCheckpoint } from '../../src/checkpoint/index.js';
import { FORMAT_VERSION, STATE_VERSION } from '../../src/checkpoint/manifest.js';
import { regsView } from '../../src/kvm/index.js';
import { golden, goldenDir, goldenFile } from './golden.js';
import { scratchDir } from './scratch.js';

const REFUSED = { code: 'MAYFLY_CHECKPOINT_VERSION' };

t.ok(existsSync(goldenFile), 'this version has one: `node vmm/dist/test/checkpoint/golden.js`');

for (const file of readdirSync(goldenDir)) {
  t.test(file, async (t) => {
    const dir = scratchDir();
    t.teardown(() => dir.remove());
    const store = await CheckpointStore.open(dir.path);
    const taken = importCheckpoint(store, createReadStream(join(goldenDir, file)));
    if (file !== `v${FORMAT_VERSION}-${STATE_VERSION}.tgz`) {
      await t.rejects(taken, REFUSED);
      return;
    }
    const manifests = await taken;
    t.match(manifests, [{ name: 'first', memory: { pages: 8 } }, { name: 'second' }]);
    for (const { name, abi: wanted } of manifests) {
      await store.verify(name);
      if (wanted !== abi.ABI_VERSION) {
        await t.rejects(store.load(name), REFUSED);
        continue;
      }
      const { state, close } = await store.load(name);
      t.teardown(close);
      t.equal(regsView(state.vcpu.regs).rbx, BigInt(golden[name as 'first'].rbx));
      t.match(state.devices.transports[2]?.device.specific, { connections: [{ hostPort: 1024 }] });
    }
    const { pages, changes } = await diffCheckpoints(store, 'first', 'second');
    t.equal(pages, 1);
    t.same(changes, [{ part: 'vcpu', what: 'rbx', from: '0x5', to: '0x6' }]);
  });
}
