/** A checkpoint whose checksums are right, but not what runs at CPL 0: no machine is made of it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { abi } from '@mayfly/protocol';
import fc from 'fast-check';
import t from 'tap';
import { CheckpointStore, cloneMachine } from '../../src/checkpoint/index.js';

import { digestOf } from '../../src/checkpoint/manifest.js';
import { DEBUG_REGS_SIZE, sregsView } from '../../src/kvm/index.js';
import { guardedRanges, isAtCpl0 } from '../../src/machine/cpl0.js';
import type { MachineState } from '../../src/machine/machine-state.js';
import { StoredTemplates } from '../../src/pool/stored-templates.js';
import { bootedMemory, scratchDir, stateOf } from './scratch.js';

const { layout } = abi;
const dir = scratchDir();
t.teardown(() => dir.remove());
const directory = join(dir.path, 'store');
const CONTENT = 'not really an image';
const image = join(dir.path, `${digestOf(Buffer.from(CONTENT))}.erofs`);
writeFileSync(image, CONTENT);
const store = await CheckpointStore.open(directory);
const templates = new StoredTemplates(directory);
const memory = bootedMemory();
const bytes = new Uint8Array(memory.buffer);

const spec = {
  ...{ name: 'f', images: [image], argv: ['/f'], env: {}, memoryBytes: memory.size },
  ...{ bootTimeoutMs: 1000, stored: { group: 'f', version: '1' } },
};

const CONSOLE = { stdout() {}, stderr() {} };

/** Stores the memory as it is, and what becomes of it: as a template of a pool, and as a checkpoint. */
async function outcomes(state: MachineState): Promise<[template: string, clone: string]> {
  const place = await templates.place(spec, 'head');
  const { id } = await store.create(place!, { memory, state, images: [image], command: ['/f'] });
  await store.verify(id);
  const template = await templates.load(spec);
  template?.loaded.close();
  const loaded = await store.load(id);
  try {
    cloneMachine(loaded, CONSOLE).close();
    return [template ? 'loaded' : 'refused', 'made'];
  } catch (error) {
    return [template ? 'loaded' : 'refused', (error as { code: string }).code];
  } finally {
    loaded.close();
  }
}

const REFUSED = ['refused', 'MAYFLY_TEMPLATE_TAMPERED'];

t.test('one that nobody changed gets as far as KVM', async (t) => {
  const [template, clone] = await outcomes(stateOf(memory));
  t.equal(template, 'loaded');
  t.not(clone, 'MAYFLY_TEMPLATE_TAMPERED');
});

t.test('a flipped bit of what runs at CPL 0, or decides it', async (t) => {
  const places = guardedRanges(true).flatMap(([offset, length]) =>
    Array.from({ length }, (_, i) => offset + i),
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(places.length - 1), fc.nat(7), async (i, bit) => {
      const at = places[i]!;
      bytes[at]! ^= 1 << bit;
      t.same(await outcomes(stateOf(memory)), REFUSED, `0x${at.toString(16)}`);
      bytes[at]! ^= 1 << bit;
    }),
    { numRuns: 25 },
  );
});

t.test('a page table that lies elsewhere', async (t) => {
  const view = new DataView(memory.buffer);
  view.setBigUint64(layout.PT_GPA + 8 * 200, 0x1000067n, true);
  t.same(await outcomes(stateOf(memory)), REFUSED);
  view.setBigUint64(layout.PT_GPA + 8 * 200, 0n, true);
});

t.test('registers: CPL 0, a breakpoint, another entry', async (t) => {
  const change = (change: (state: MachineState) => void) => {
    const state = stateOf(memory);
    change(state);
    return outcomes(state);
  };
  const privileged = ({ vcpu }: MachineState) => {
    sregsView(vcpu.sregs).cs.selector = 0x10;
    t.ok(isAtCpl0(vcpu));
  };
  t.same(await change(privileged), REFUSED);
  const breakpoint = ({ vcpu }: MachineState) => {
    vcpu.debugRegs = new ArrayBuffer(DEBUG_REGS_SIZE);
    new DataView(vcpu.debugRegs).setUint8(40, 1);
  };
  t.same(await change(breakpoint), REFUSED);
  const entry = ({ vcpu }: MachineState) => {
    vcpu.msrs = vcpu.msrs.map(([index, value]) => [index, value + 1n]);
  };
  t.same(await change(entry), REFUSED);
  t.notOk(isAtCpl0(stateOf(memory).vcpu));
});
