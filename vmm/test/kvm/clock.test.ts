import t from 'tap';
import { exits, GuestMemory } from '../../src/kvm/index.js';
import { createGuest, DATA, programs, skip } from './tiny-guest.js';

const PAGE = 0x8000;

function readPage(bytes: Uint8Array): BigUint64Array {
  return new BigUint64Array(bytes.buffer, PAGE, 5);
}

t.test('the clock page is written at each entry', { skip }, async (t) => {
  const guest = createGuest(programs.increment);
  t.teardown(() => guest.close());
  const page = readPage(guest.bytes);
  guest.vcpu.run();
  t.same([...page], [0n, 0n, 0n, 0n, 0n], 'not asked for');
  guest.vcpu.setClock(guest.memory, PAGE);
  for (let i = 0; i < 3; i++) {
    const before = process.hrtime.bigint();
    const wall = BigInt(Date.now()) * 1_000_000n;
    guest.vcpu.run();
    const [tsc, mono, wallBase, mult, shift] = page as unknown as bigint[];
    t.ok(tsc! > 0n);
    t.ok(mono! >= before && mono! <= process.hrtime.bigint(), 'CLOCK_MONOTONIC');
    t.ok(wallBase! >= wall && wallBase! <= BigInt(Date.now() + 1) * 1_000_000n);
    t.ok(mult! > 0n && mult! < 1n << 32n);
    t.ok(shift! > 0n && shift! <= 32n);
  }
  guest.vcpu.setClock(null);
  page.fill(0n);
  guest.vcpu.run();
  t.equal(page[0], 0n, 'no longer');
});

t.test('a guest reads the time that the host has', { skip }, async (t) => {
  const guest = createGuest(programs.clock(PAGE));
  t.teardown(() => guest.close());
  guest.vcpu.setClock(guest.memory, PAGE);
  const time = new BigUint64Array(guest.memory.buffer, DATA, 1);
  let previous = 0n;
  for (let i = 0; i < 200; i++) {
    const before = process.hrtime.bigint();
    t.equal(guest.vcpu.run(), exits.IO);
    const after = process.hrtime.bigint();
    if (time[0]! < before || time[0]! > after) t.fail(`${before} <= ${time[0]} <= ${after}`);
    if (time[0]! <= previous) t.fail('time went back');
    previous = time[0]!;
  }
});

t.test('the rate fits CLOCK_MONOTONIC over a tenth of a second', { skip }, async (t) => {
  const guest = createGuest(programs.increment);
  t.teardown(() => guest.close());
  guest.vcpu.setClock(guest.memory, PAGE);
  guest.vcpu.run();
  const first = [...readPage(guest.bytes)] as bigint[];
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  guest.vcpu.run();
  const second = [...readPage(guest.bytes)] as bigint[];
  const predicted = first[1]! + (((second[0]! - first[0]!) * first[3]!) >> first[4]!);
  const ppm = (Number(predicted - second[1]!) / Number(second[1]! - first[1]!)) * 1e6;
  t.comment(`off by ${ppm.toFixed(1)} ppm`);
  t.ok(Math.abs(ppm) < 500);
});

t.test('the clock keeps its memory, and checks it', { skip }, async (t) => {
  const guest = createGuest(programs.increment);
  const memory = GuestMemory.anonymous(4096);
  t.teardown(() => guest.close());
  const wrong = { code: 'MAYFLY_KVM_ARGUMENT' };
  t.throws(() => guest.vcpu.setClock(memory, 4096 - 32), wrong, 'past the end');
  t.throws(() => guest.vcpu.setClock(memory, 4), wrong, 'not aligned');
  guest.vcpu.setClock(memory, 4096 - 40);
  memory.close();
  t.equal(guest.vcpu.run(), exits.IO);
});
