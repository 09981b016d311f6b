import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { exits, Vcpu } from '../../src/kvm/index.js';
import type { WorkerOptions } from './guest-worker.js';
import { CODE, createGuest, programs, skip } from './tiny-guest.js';

function startWorker(rounds: number): { worker: Worker; counters: Int32Array } {
  const counters = new Int32Array(new SharedArrayBuffer(8));
  const options: WorkerOptions = { rounds, counters };
  const worker = new Worker(new URL('./guest-worker.js', import.meta.url), { workerData: options });
  return { worker, counters };
}

t.test('a slice ends the run of a guest that spins', { skip }, async (t) => {
  const guest = createGuest(programs.spin);
  t.teardown(() => guest.close());
  guest.vcpu.setSlice(2000);
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    t.equal(guest.vcpu.run(), exits.INTERRUPTED);
    const elapsed = performance.now() - start;
    t.ok(elapsed >= 1.9 && elapsed < 500, `${elapsed} ms`);
    t.equal(guest.vcpu.syncRegs.rip, BigInt(CODE));
  }
});

t.test('the shortest slices are never lost', { skip }, async (t) => {
  const guest = createGuest(programs.spin);
  t.teardown(() => guest.close());
  let interrupted = 0;
  for (let i = 0; i < 3000; i++) {
    guest.vcpu.setSlice(1 + (i % 40));
    if (guest.vcpu.run() === exits.INTERRUPTED) interrupted++;
  }
  t.equal(interrupted, 3000);
});

t.test('a slice does not outlast its run', { skip }, async (t) => {
  const spinner = createGuest(programs.spin);
  const counter = createGuest(programs.increment);
  t.teardown(() => [spinner, counter].map((guest) => guest.close()));
  counter.vcpu.setSlice(100_000);
  spinner.vcpu.setSlice(5000);
  for (let i = 0; i < 10; i++) {
    t.equal(counter.vcpu.run(), exits.IO);
    t.equal(spinner.vcpu.run(), exits.INTERRUPTED);
  }
  counter.vcpu.setSlice(0);
  t.equal(counter.vcpu.run(), exits.IO);
  t.throws(() => counter.vcpu.setSlice(-1), { code: 'MAYFLY_KVM_ARGUMENT' });
  t.throws(() => counter.vcpu.setSlice(3.6e9 + 1), { code: 'MAYFLY_KVM_ARGUMENT' });
});

t.test('a kick that finds no run ends the next one, once', { skip }, async (t) => {
  const guest = createGuest(programs.increment);
  t.teardown(() => guest.close());
  t.equal(Vcpu.kick(guest.vcpu.kickToken), true);
  t.equal(Vcpu.kick(guest.vcpu.kickToken), true);
  t.equal(guest.vcpu.run(), exits.INTERRUPTED);
  t.equal(guest.vcpu.run(), exits.IO);
  t.equal(guest.vcpu.run(), exits.IO);
});

t.test(
  'a kick of a closed vCPU does nothing, even when its place is taken',
  { skip },
  async (t) => {
    const first = createGuest(programs.increment);
    const token = first.vcpu.kickToken;
    first.close();
    t.equal(Vcpu.kick(token), false);
    const second = createGuest(programs.increment);
    t.not(second.vcpu.kickToken, token);
    t.equal(Vcpu.kick(token), false);
    t.equal(second.vcpu.run(), exits.IO);
    for (const wrong of [0n, 1n, 2n ** 64n - 1n]) t.equal(Vcpu.kick(wrong), false);
    t.throws(() => Vcpu.kick(2n ** 64n), { code: 'MAYFLY_KVM_ARGUMENT' });
    second.close();
  },
);

t.test('a kick reaches its vCPU alone, among many', { skip }, async (t) => {
  const guests = Array.from({ length: 150 }, () => createGuest(programs.increment));
  t.teardown(() => guests.map((guest) => guest.close()));
  t.equal(new Set(guests.map((guest) => guest.vcpu.kickToken)).size, guests.length);
  const kicked = guests.filter((_, i) => i % 7 === 3);
  for (const { vcpu } of kicked) Vcpu.kick(vcpu.kickToken);
  const interrupted = guests.filter(({ vcpu }) => vcpu.run() === exits.INTERRUPTED);
  t.same(
    interrupted.map((guest) => guest.vcpu.kickToken),
    kicked.map((guest) => guest.vcpu.kickToken),
  );
});

t.test('kicks reach a guest that spins in a worker, the first one too', { skip }, async (t) => {
  const rounds = 300;
  const { worker, counters } = startWorker(rounds);
  const [token] = (await once(worker, 'message')) as [bigint];
  for (let i = 0; i < rounds; i++) {
    while (i > 0 && Atomics.load(counters, 1) === 0);
    t.equal(Vcpu.kick(token), true);
    const deadline = performance.now() + 5000;
    while (Atomics.load(counters, 0) <= i && performance.now() < deadline) {
      Atomics.wait(counters, 0, i, 100);
    }
    if (Atomics.load(counters, 0) !== i + 1) {
      t.fail(`kick ${i} was lost`);
      break;
    }
  }
  if (Atomics.load(counters, 0) < rounds) process.exit(1);
  const [code] = await once(worker, 'exit');
  t.equal(code, 0);
  t.equal(Vcpu.kick(token), false, 'closed with its worker');
});
