/** Whatever a guest did to its memory, its processor and its devices, a rewind leaves nothing of it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ImageStore, treeFromPrograms } from '@mayfly/image';
import { abi, encodeFrame } from '@mayfly/protocol';
import fc from 'fast-check';
import t from 'tap';
import type { Vcpu } from '../../src/kvm/index.js';
import { GuestMemory, sregsView } from '../../src/kvm/index.js';
import { NESTED_PAGING } from '../../src/machine/host-cpu.js';
import { CR4_PGE } from '../../src/machine/vcpu-state.js';
import { boot } from '../../src/worker/boot.js';
import { Clone, type CloneParts } from '../../src/worker/clone.js';
import type { Template } from '../../src/worker/template.js';
import { compile } from './guest.js';

const scratch = mkdtempSync('/var/tmp/mayfly-exact-');
const source = fileURLToPath(new URL('../../../test/machine/scramble.c', import.meta.url));
/** On a slow machine fewer are enough: each life touches everything. */
const RUNS = Number(process.env.MAYFLY_TEST_RUNS ?? 10);

async function makeTemplate(): Promise<Template> {
  const program = compile(source, 'scramble', ['-static', '-mfsgsbase', '-mxsave']);
  const store = await ImageStore.open(join(scratch, 'images'));
  const image = await store.build(await treeFromPrograms([{ path: program }]));
  const { template } = await boot({
    kind: 'boot',
    id: 1,
    name: 'scramble',
    program,
    argv: [program],
    env: {},
    cwd: '/',
    images: [image.path],
    network: [],
    memoryBytes: 64 << 20,
    timeoutMs: 60_000,
    directory: scratch,
  });
  return template!;
}

const template = await makeTemplate();
const original = GuestMemory.readonlyFile(template.memoryFd, template.memorySize);
t.teardown(() => {
  original.close();
  rmSync(scratch, { recursive: true, force: true });
});

const newClone = (parts?: CloneParts) => new Clone(template, original, parts);

/** MSRs that user code can change, or that would matter if it could; those that this host has. */
const MSRS = [
  0x10a, 0x174, 0x175, 0x176, 0x277, 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
  0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103,
];

function msrs(vcpu: Vcpu): string[] {
  return MSRS.map((index) => {
    try {
      return `${index.toString(16)}: ${vcpu.getMsrs([index])}`;
    } catch {
      return `${index.toString(16)}: none`;
    }
  });
}

const hex = (bytes: ArrayBuffer) => Buffer.from(bytes).toString('hex');

/** Everything of a vCPU that is about to enter, but what the guest loads itself before it goes on: vector state. */
function vcpuState({ machine: { vcpu } }: Clone) {
  vcpu.completeIo(); // takes over the registers that the next entry would
  const sregs = vcpu.getSregs();
  sregsView(sregs).cr4 &= ~CR4_PGE; // each flush of the TLB changes it
  return {
    regs: hex(vcpu.getRegs()),
    sregs: hex(sregs),
    xcrs: hex(vcpu.getXcrs()),
    events: hex(vcpu.getEvents()),
    debugRegs: hex(vcpu.getDebugRegs()),
    mpState: hex(vcpu.getMpState()),
    msrs: msrs(vcpu),
  };
}

/** What the guest sees when it goes on: registers, flags, segments, x87, vectors, opmasks, PKRU, fs and gs. */
async function life(clone: Clone, seed: number, pages: number, more = {}): Promise<string> {
  const head = { seed, pages, ...more, padding: '' };
  head.padding = '.'.repeat(120 - JSON.stringify(head).length); // frames of one length, for read() tells it
  const frame = encodeFrame(head);
  const { body } = await clone.invoke(frame, performance.now() + 60_000);
  return hex(Uint8Array.from(body).buffer);
}

const sameMemory = ({ machine }: Clone) =>
  Buffer.from(machine.memory.buffer).equals(Buffer.from(original.buffer));

const fresh = newClone();
t.teardown(() => fresh.close());
const first = { vcpu: vcpuState(fresh), devices: fresh.machine.bus.save() };
/** Compared with t.ok(): its diffs would have thousands of digits. */
const firstSeen = await life(fresh, 0, 0);

await t.test('the guest has something to see', async (t) => {
  t.ok(firstSeen.length > 4096);
  t.match(firstSeen, /0000c03f0000c03f0000c03f0000c03f/, 'xmm7, four times 1.5');
  t.match(firstSeen, Buffer.from([0, 0x90, 0x78, 0x56, 0x34, 0x12]).toString('hex'), 'gs base');
});

await t.test('nothing of a life survives its rewind', async (t) => {
  const clone = newClone();
  t.teardown(() => clone.close());
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.nat(1500), async (seed, pages) => {
      const seen = await life(clone, seed, pages);
      if (seen !== firstSeen) throw new Error('the guest saw something of an earlier life');
      if (sameMemory(clone)) throw new Error('the guest did nothing');
      if (!clone.rewind()) throw new Error('the clone could not be rewound');
      if (!sameMemory(clone)) throw new Error('memory differs');
      const now = { vcpu: vcpuState(clone), devices: clone.machine.bus.save() };
      t.same(now, first);
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
});

await t.test('a prefetched clone begins like any other', async (t) => {
  const clone = newClone({ workingSet: fresh.machine.memory.written() });
  t.teardown(() => clone.close());
  t.ok(sameMemory(clone));
  t.ok((await life(clone, 7, 300)) === firstSeen);
  t.ok(clone.rewind());
  t.ok(sameMemory(clone));
  t.ok((await life(clone, 8, 300)) === firstSeen);
});

await t.test('page tables are put back, or their clone is replaced', async (t) => {
  const clone = newClone();
  t.teardown(() => clone.close());
  await life(clone, 1, 10, { tables: 1 });
  t.equal(clone.rewind(), NESTED_PAGING);
  if (!NESTED_PAGING) return;
  t.ok(sameMemory(clone));
  t.ok((await life(clone, 2, 10)) === firstSeen);
});

await t.test('a clone that wrote to what runs at CPL 0, or too much, is not rewound', async (t) => {
  const written = newClone();
  t.teardown(() => written.close());
  await life(written, 1, 10, { gate: 1 });
  t.notOk(written.rewind());
  const large = newClone({ dirtyPagesMax: 700 });
  t.teardown(() => large.close());
  await life(large, 1, 10);
  t.ok(large.rewind(), 'within the budget');
  await life(large, 2, 1500);
  t.notOk(large.rewind());
});

/** The guest maps another block where its kernel is, and `syscall` leads to code of the program at CPL 0. */
const entry = abi.layout.SYSCALL_TRAP_VA;

await t.test('what a guest did at CPL 0 does not survive', async (t) => {
  const clone = newClone();
  t.teardown(() => clone.close());
  await life(clone, 1, 0, { entry });
  const { machine } = clone;
  if (!NESTED_PAGING) return t.notOk(clone.rewind());
  t.equal(new DataView(machine.vcpu.getDebugRegs()).getBigUint64(40, true), 0x401n, 'it was there');
  t.ok(clone.rewind());
  t.ok(sameMemory(clone));
  t.same(vcpuState(clone), first.vcpu);
  t.ok((await life(clone, 2, 10)) === firstSeen);
});

await t.test('no code of a guest writes to MSRs', { skip: !NESTED_PAGING }, async (t) => {
  const clone = newClone();
  t.teardown(() => clone.close());
  await t.rejects(life(clone, 1, 0, { entry, msr: 1 }), { code: 'MAYFLY_UNEXPECTED_EXIT' });
});
