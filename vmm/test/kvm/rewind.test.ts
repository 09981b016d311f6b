import t from 'tap';
import {
  type ByteRange,
  exits,
  GuestMemory,
  Rewinder,
  regsView,
  sregsView,
} from '../../src/kvm/index.js';
import { createScratchFile } from './scratch-file.js';
import {
  CODE,
  DATA,
  fillMemory,
  type Guest,
  MEMORY_SIZE,
  NOWHERE,
  programs,
  skip,
  startGuest,
  startRegs,
  TABLE_PAGES,
  userSregs,
} from './tiny-guest.js';

const PAGE = 4096;
const TABLES = TABLE_PAGES.length;

interface Clone extends Guest {
  readonly template: GuestMemory;
  readonly rewinder: Rewinder;
}

/**
 * A clone of a template whose pages from DATA on are full of their own number. Its page tables are written to now: where the
 * processor walks them as if it wrote them, they would be sooner or later.
 */
function createClone(
  program: readonly number[],
  exclude?: readonly ByteRange[],
  size = MEMORY_SIZE,
  guard: readonly ByteRange[] = [],
): Clone {
  const source = GuestMemory.anonymous(size);
  fillMemory(source, program);
  const words = new Uint32Array(source.buffer);
  for (let i = DATA / 4; i < words.length; i++) words[i] = Math.floor(i / 1024);
  const file = createScratchFile();
  source.writeTo(file.fd);
  source.close();
  const template = GuestMemory.readonlyFile(file.fd, size);
  const memory = GuestMemory.privateFile(file.fd, size);
  file.close();
  const guest = startGuest(memory);
  const { vcpu, bytes } = guest;
  for (const page of TABLE_PAGES) bytes[page * PAGE] = bytes[page * PAGE]!;
  const rewinder = Rewinder.create({
    memory,
    template,
    vcpu,
    regs: startRegs(),
    sregs: userSregs(vcpu),
    ...(exclude && { exclude }),
    guard,
  });
  const close = () => {
    rewinder.close();
    guest.close();
    template.close();
  };
  return { ...guest, template, rewinder, close };
}

function differs(clone: Clone): boolean {
  return Buffer.compare(Buffer.from(clone.memory.buffer), Buffer.from(clone.template.buffer)) !== 0;
}

t.test('rewind puts back exactly the pages that were written', { skip }, async (t) => {
  const clone = createClone(programs.dirty(50, PAGE));
  t.teardown(() => clone.close());
  t.same([...clone.rewinder.dirtyPages()], TABLE_PAGES, 'nothing else was written yet');
  t.equal(clone.vcpu.run(), exits.IO);
  const pages = Array.from({ length: 50 }, (_, i) => DATA / PAGE + i);
  t.same([...clone.rewinder.dirtyPages()], [...TABLE_PAGES, ...pages]);
  t.equal(differs(clone), true);
  t.equal(clone.rewinder.rewind(), TABLES + 50);
  t.equal(clone.rewinder.pagesCopied, TABLES + 50);
  t.equal(differs(clone), false);
  t.equal(clone.vcpu.run(), exits.IO, 'and again');
  t.equal(differs(clone), true);
  t.equal(clone.rewinder.rewind(), TABLES + 50);
  t.equal(differs(clone), false);
});

t.test('rewind finds what the VMM wrote, too', { skip }, async (t) => {
  const clone = createClone(programs.spin);
  t.teardown(() => clone.close());
  clone.bytes[5 * PAGE + 9] = 0x99;
  t.same([...clone.rewinder.dirtyPages()], [...TABLE_PAGES, 5]);
  t.equal(clone.rewinder.rewind(), TABLES + 1);
  t.equal(clone.bytes[5 * PAGE + 9], 0);
});

t.test('a write to a guarded page is remembered', { skip }, async (t) => {
  const clone = createClone(programs.spin, [[9 * PAGE, PAGE]], MEMORY_SIZE, [
    [5 * PAGE, PAGE],
    [9 * PAGE, 100],
  ]);
  t.teardown(() => clone.close());
  const { rewinder, bytes } = clone;
  for (const page of [4, 6, 8]) bytes[page * PAGE + 4095] = 1;
  t.not(rewinder.rewind(), -1, 'neighbours are not guarded');
  bytes[5 * PAGE] = bytes[5 * PAGE]!;
  t.equal(rewinder.rewind(), -1, 'even when the byte is what it was');
  t.equal(rewinder.rewind(), -1);
});

t.test('a guarded page may be one that rewind leaves alone', { skip }, async (t) => {
  const clone = createClone(programs.spin, [[9 * PAGE, PAGE]], MEMORY_SIZE, [[9 * PAGE, 100]]);
  t.teardown(() => clone.close());
  clone.bytes[9 * PAGE + 200] = 1;
  t.equal(clone.rewinder.rewind(), -1, 'pages are what is known');
});

t.test('more separate pages than one scan can return', { skip }, async (t) => {
  const clone = createClone(programs.dirty(2000, 2 * PAGE), undefined, 32 << 20);
  t.teardown(() => clone.close());
  t.equal(clone.vcpu.run(), exits.IO);
  t.equal(clone.rewinder.dirtyPages().length, TABLES + 2000);
  t.equal(clone.rewinder.dirtyPages()[TABLES + 1999], DATA / PAGE + 3998);
  t.equal(clone.rewinder.rewind(), TABLES + 2000);
  t.equal(differs(clone), false);
});

t.test('rewind restores registers and segments', { skip }, async (t) => {
  const clone = createClone(programs.increment);
  t.teardown(() => clone.close());
  const { vcpu, rewinder } = clone;
  for (let i = 0; i < 3; i++) vcpu.run();
  t.equal(vcpu.syncRegs.rax, 3n);
  const sregs = vcpu.getSregs();
  sregsView(sregs).fs.base = 0x1234000n;
  vcpu.setSregs(sregs);
  rewinder.rewind();
  t.equal(vcpu.run(), exits.IO);
  t.equal(vcpu.syncRegs.rax, 1n);
  t.equal(vcpu.syncSregs.fs.base, 0n);
  t.equal(regsView(vcpu.getRegs()).rsp, regsView(startRegs()).rsp);
});

t.test('rewindAndRun is both in one call, any number of times', { skip }, async (t) => {
  const clone = createClone(programs.dirty(20, PAGE));
  t.teardown(() => clone.close());
  for (let i = 0; i < 500; i++) {
    if (clone.rewinder.rewindAndRun() !== exits.IO) t.fail(`run ${i}`);
    if (i > 0 && clone.rewinder.pagesCopied !== TABLES + 20) t.fail(`pages ${i}`);
  }
  t.equal(clone.vcpu.pioPort, 0xe9);
  t.equal(clone.vcpu.syncRegs.rdi, BigInt(DATA + 20 * PAGE));
});

t.test('an IN that was left open does not resume the old code', { skip }, async (t) => {
  const clone = createClone(programs.input);
  t.teardown(() => clone.close());
  for (let i = 0; i < 5; i++) {
    t.equal(clone.rewinder.rewindAndRun(), exits.IO);
    t.equal(clone.vcpu.pioIsWrite, false, 'stops at the IN each time');
    t.equal(clone.vcpu.syncRegs.rip, BigInt(CODE));
  }
});

t.test('an MMIO read that was left open does not resume the old code', { skip }, async (t) => {
  const clone = createClone(programs.load(NOWHERE));
  t.teardown(() => clone.close());
  for (let i = 0; i < 5; i++) {
    t.equal(clone.rewinder.rewindAndRun(), exits.MMIO);
    t.equal(clone.vcpu.mmioIsWrite, false);
  }
});

t.test('an MMIO write of two parts does not leak its second part', { skip }, async (t) => {
  const clone = createClone(programs.storeWide(NOWHERE + 8));
  t.teardown(() => clone.close());
  for (let i = 0; i < 5; i++) {
    t.equal(clone.rewinder.rewindAndRun(), exits.MMIO);
    t.equal(clone.vcpu.mmioPhysAddr, NOWHERE + 8, 'the first part each time');
  }
  t.equal(clone.vcpu.run(), exits.MMIO);
  t.equal(clone.vcpu.mmioPhysAddr, NOWHERE + 16);
});

t.test('a template that resumes at the very OUT of the last exit', { skip }, async (t) => {
  const clone = createClone([0xe6, 0xe9, 0xeb, 0xfe]);
  t.teardown(() => clone.close());
  clone.vcpu.setSlice(100_000);
  for (let i = 0; i < 5; i++) t.equal(clone.rewinder.rewindAndRun(), exits.IO);
});

t.test('a run that was cut short is rewound', { skip }, async (t) => {
  const clone = createClone(programs.dirty(1_000_000, 0));
  t.teardown(() => clone.close());
  clone.vcpu.setSlice(300);
  let interrupted = 0;
  for (let i = 0; i < 20; i++) {
    if (clone.rewinder.rewindAndRun() === exits.INTERRUPTED) interrupted++;
    clone.rewinder.rewind();
    t.equal(differs(clone), false);
  }
  t.ok(interrupted > 0);
});

t.test('excluded ranges keep what was written', { skip }, async (t) => {
  const clone = createClone(programs.dirty(10, PAGE), [
    [0, 16],
    [DATA + 2 * PAGE, 2 * PAGE],
    [DATA + 5 * PAGE, 1],
    [DATA + 9 * PAGE + 1, PAGE],
  ]);
  t.teardown(() => clone.close());
  clone.bytes.fill(0x77, DATA, DATA + 10 * PAGE);
  t.equal(clone.rewinder.rewind(), TABLES + 8);
  const kept = [...clone.bytes.subarray(DATA, DATA + 10 * PAGE)].map((byte) => byte === 0x77);
  const expected = (i: number) =>
    (i >= 2 * PAGE && i < 4 * PAGE) || i === 5 * PAGE || (i > 9 * PAGE && i < 10 * PAGE);
  t.equal(
    kept.findIndex((is, i) => is !== expected(i)),
    -1,
  );
});

t.test('wrong arguments are refused', { skip }, async (t) => {
  const clone = createClone(programs.spin);
  const anonymous = GuestMemory.anonymous(MEMORY_SIZE);
  const small = GuestMemory.anonymous(PAGE);
  t.teardown(() => [clone, anonymous, small].map((closeable) => closeable.close()));
  const { memory, template, vcpu } = clone;
  const good = { memory, template, vcpu, regs: startRegs(), sregs: vcpu.getSregs() };
  const wrong = { code: 'MAYFLY_KVM_ARGUMENT' };
  t.throws(() => Rewinder.create({ ...good, memory: anonymous }), wrong);
  t.throws(() => Rewinder.create({ ...good, template: small }), wrong);
  t.throws(() => Rewinder.create({ ...good, regs: new ArrayBuffer(5) }), wrong);
  t.throws(() => Rewinder.create({ ...good, sregs: startRegs() }), wrong);
  t.throws(() => Rewinder.create({ ...good, exclude: [[-1, 5]] }), wrong);
  t.throws(() => Rewinder.create({ ...good, exclude: [[0, MEMORY_SIZE + 1]] }), wrong);
  const overlapping = [
    [4096, 4096],
    [4100, 1],
  ] as const;
  t.throws(() => Rewinder.create({ ...good, exclude: overlapping }), wrong);
});
