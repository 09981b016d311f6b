import t from 'tap';
import { exits, regsView, sregsView } from '../../src/kvm/index.js';
import { CODE, createGuest, NOWHERE, programs, skip, startRegs } from './tiny-guest.js';

t.test('a guest at CPL 3 in long mode ends its run with an OUT', { skip }, async (t) => {
  const guest = createGuest(programs.increment);
  t.teardown(() => guest.close());
  const { vcpu } = guest;
  t.equal(vcpu.run(), exits.IO);
  t.equal(vcpu.pioPort, 0xe9);
  t.equal(vcpu.pioSize, 1);
  t.equal(vcpu.pioCount, 1);
  t.equal(vcpu.pioIsWrite, true);
  t.same([...vcpu.pioData], [1]);
  t.equal(vcpu.syncSregs.cs.dpl, 3);
  t.equal(vcpu.syncSregs.cs.l, 1);
});

t.test('registers are synced out at each exit', { skip }, async (t) => {
  const guest = createGuest(programs.increment);
  t.teardown(() => guest.close());
  for (let i = 1n; i <= 5n; i++) {
    t.equal(guest.vcpu.run(), exits.IO);
    t.equal(guest.vcpu.syncRegs.rax, i);
  }
  t.same(guest.vcpu.syncSregs.cr3, sregsView(guest.vcpu.getSregs()).cr3);
});

t.test('registers are synced in when marked dirty, and only then', { skip }, async (t) => {
  const guest = createGuest(programs.increment);
  t.teardown(() => guest.close());
  const { vcpu } = guest;
  vcpu.run();
  vcpu.completeIo();
  vcpu.syncRegs.rax = 41n;
  vcpu.run();
  t.equal(vcpu.syncRegs.rax, 2n, 'not marked');
  vcpu.completeIo();
  vcpu.syncRegs.rax = 41n;
  vcpu.dirty(true, false);
  vcpu.run();
  t.equal(vcpu.syncRegs.rax, 42n, 'marked: rbx = rax at the end of the loop, then + 1');
});

t.test('IN takes what was put into its data', { skip }, async (t) => {
  const guest = createGuest(programs.input);
  t.teardown(() => guest.close());
  const { vcpu } = guest;
  t.equal(vcpu.run(), exits.IO);
  t.equal(vcpu.pioIsWrite, false);
  t.equal(vcpu.pioPort, 0xe8);
  vcpu.pioData[0] = 0x5a;
  t.equal(vcpu.run(), exits.IO);
  t.same([...vcpu.pioData], [0x5a]);
});

t.test('completeIo finishes an IN without running on', { skip }, async (t) => {
  const guest = createGuest(programs.input);
  t.teardown(() => guest.close());
  const { vcpu } = guest;
  vcpu.run();
  vcpu.pioData[0] = 0x33;
  t.equal(vcpu.completeIo(), -1);
  t.equal(regsView(vcpu.getRegs()).rip, BigInt(CODE + 2));
  t.equal(regsView(vcpu.getRegs()).rax, 0x33n);
});

t.test('reads and writes of no memory exit as MMIO', { skip }, async (t) => {
  const writer = createGuest(programs.store(NOWHERE + 5, 0x77));
  const reader = createGuest(programs.load(NOWHERE));
  t.teardown(() => [writer, reader].map((guest) => guest.close()));
  t.equal(writer.vcpu.run(), exits.MMIO);
  t.equal(writer.vcpu.mmioPhysAddr, NOWHERE + 5);
  t.equal(writer.vcpu.mmioIsWrite, true);
  t.same([...writer.vcpu.mmioData], [0x77]);
  t.equal(reader.vcpu.run(), exits.MMIO);
  t.equal(reader.vcpu.mmioIsWrite, false);
  t.equal(reader.vcpu.mmioLen, 8);
  reader.vcpu.mmioData.set([1, 2, 3, 4, 5, 6, 7, 8]);
  t.equal(reader.vcpu.run(), exits.IO);
  t.equal(reader.vcpu.syncRegs.rax, 0x0807060504030201n);
});

t.test('state goes out and in whole', { skip }, async (t) => {
  const guest = createGuest(programs.increment);
  t.teardown(() => guest.close());
  const { vcpu } = guest;
  vcpu.run();
  vcpu.completeIo();
  const regs = vcpu.getRegs();
  regsView(regs).r15 = 0xfedcba9876543210n;
  vcpu.setRegs(regs);
  t.equal(regsView(vcpu.getRegs()).r15, 0xfedcba9876543210n);
  t.equal(vcpu.getFpu().byteLength, 416);
  t.ok(vcpu.getXsave().byteLength >= 4096);
  const pairs = [
    [() => vcpu.getFpu(), (b: ArrayBuffer) => vcpu.setFpu(b)],
    [() => vcpu.getXsave(), (b: ArrayBuffer) => vcpu.setXsave(b)],
    [() => vcpu.getEvents(), (b: ArrayBuffer) => vcpu.setEvents(b)],
    [() => vcpu.getXcrs(), (b: ArrayBuffer) => vcpu.setXcrs(b)],
    [() => vcpu.getDebugRegs(), (b: ArrayBuffer) => vcpu.setDebugRegs(b)],
    [() => vcpu.getMpState(), (b: ArrayBuffer) => vcpu.setMpState(b)],
  ] as const;
  for (const [get, set] of pairs) {
    const bytes = get();
    set(bytes);
    t.same(new Uint8Array(get()), new Uint8Array(bytes));
  }
});

t.test('MSRs are read and written in one call', { skip }, async (t) => {
  const guest = createGuest(programs.increment);
  t.teardown(() => guest.close());
  const [STAR, LSTAR] = [0xc0000081, 0xc0000082];
  guest.vcpu.setMsrs([
    [STAR, 0x23001000000000n],
    [LSTAR, 0x70000000n],
  ]);
  t.same(guest.vcpu.getMsrs([LSTAR, STAR]), [0x70000000n, 0x23001000000000n]);
  t.throws(() => guest.vcpu.setMsrs([[0x12345678, 1n]]), {
    code: 'MAYFLY_KVM_IOCTL',
    syscall: 'KVM_SET_MSRS',
    message: /0x12345678/,
  });
});

t.test('a vCPU restarts from regs that were set', { skip }, async (t) => {
  const guest = createGuest(programs.increment);
  t.teardown(() => guest.close());
  guest.vcpu.run();
  guest.vcpu.run();
  guest.vcpu.setRegs(startRegs());
  guest.vcpu.run();
  t.equal(guest.vcpu.syncRegs.rax, 1n);
});
