import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { exits, GuestMemory, Vcpu } from '../../src/kvm/index.js';
import type { WorkerOptions } from './guest-worker.js';
import { createGuest, fillMemory, programs, skip, startGuest } from './tiny-guest.js';

function openFiles(): number {
  return readdirSync('/proc/self/fd').length;
}

/** Mappings of kvm_run, and of the test's memfds. */
function guestMappings(): number {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return lines.filter((line) => /kvm-vcpu|memfd:mayfly/.test(line)).length;
}

t.test('2,000 VMs are created, run and closed without a trace', { skip }, async (t) => {
  createGuest(programs.increment).close();
  const files = openFiles();
  const start = performance.now();
  for (let i = 0; i < 2000; i++) {
    const memory = GuestMemory.memfd(4 << 20);
    fillMemory(memory, programs.increment);
    const guest = startGuest(memory);
    if (i % 50 === 0 && guest.vcpu.run() !== exits.IO) t.fail(`VM ${i}`);
    guest.close();
  }
  t.comment(`${((performance.now() - start) / 2000).toFixed(2)} ms each`);
  t.equal(openFiles(), files);
  t.equal(guestMappings(), 0);
});

t.test('a VM, its vCPU and its memory can be closed in any order', { skip }, async (t) => {
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  for (const order of orders) {
    const memory = GuestMemory.memfd(8 << 20);
    fillMemory(memory, programs.increment);
    const { vm, vcpu } = startGuest(memory);
    vcpu.run();
    const things = [vm, vcpu, memory];
    for (const index of order) things[index]?.close();
    t.equal(guestMappings(), 0, order.join());
  }
});

t.test('a guest runs on after its memory was closed in JavaScript', { skip }, async (t) => {
  const guest = createGuest(programs.increment);
  guest.memory.close();
  t.equal(guest.vcpu.run(), exits.IO);
  guest.close();
});

t.test('what was only forgotten is collected', { skip }, async (t) => {
  const script = `
    import { readdirSync } from 'node:fs';
    const { Kvm, GuestMemory } = await import(${JSON.stringify(new URL('../../src/kvm/index.js', import.meta.url).href)});
    const count = () => readdirSync('/proc/self/fd').length;
    Kvm.open().close();
    const before = count();
    (() => {
      for (let i = 0; i < 50; i++) {
        const vm = Kvm.open().createVm();
        const memory = GuestMemory.memfd(4096);
        vm.setMemory(0, 0, memory);
        new Uint8Array(memory.buffer)[0] = 1;
        new Uint8Array(vm.createVcpu(0).runPage)[0] = 0;
      }
    })();
    const most = count();
    for (let i = 0; i < 5; i++) { gc(); await new Promise((resolve) => setTimeout(resolve, 10)); }
    console.log(most - before >= 100, count() - before);`;
  const { stdout, status } = spawnSync(
    process.execPath,
    ['--expose-gc', '--input-type=module', '-e', script],
    { encoding: 'utf8' },
  );
  t.equal(status, 0);
  t.equal(stdout.trim(), 'true 0');
});

t.test('a worker that ends closes what it left open', { skip }, async (t) => {
  const files = openFiles();
  for (let i = 0; i < 5; i++) {
    const counters = new Int32Array(new SharedArrayBuffer(8));
    const workerData: WorkerOptions = { rounds: 1, counters, leak: true };
    const worker = new Worker(new URL('./guest-worker.js', import.meta.url), { workerData });
    const [token] = (await once(worker, 'message')) as [bigint];
    Vcpu.kick(token);
    const [code] = await once(worker, 'exit');
    t.equal(code, 0);
    t.equal(Vcpu.kick(token), false);
  }
  t.equal(openFiles(), files);
  t.equal(guestMappings(), 0);
});

t.test('a worker that is terminated inside run() leaves once it is kicked', { skip }, async (t) => {
  const files = openFiles();
  const counters = new Int32Array(new SharedArrayBuffer(8));
  const workerData: WorkerOptions = { rounds: 1_000_000, counters };
  const worker = new Worker(new URL('./guest-worker.js', import.meta.url), { workerData });
  const [token] = (await once(worker, 'message')) as [bigint];
  const exit = worker.terminate();
  Vcpu.kick(token);
  await exit;
  t.equal(Vcpu.kick(token), false);
  t.equal(openFiles(), files);
});

t.test('workers run guests at the same time', { skip }, async (t) => {
  const workers = Array.from({ length: 4 }, () => {
    const counters = new Int32Array(new SharedArrayBuffer(8));
    const workerData: WorkerOptions = { rounds: 50, counters };
    return new Worker(new URL('./guest-worker.js', import.meta.url), { workerData });
  });
  const tokens = await Promise.all(
    workers.map(async (worker) => ((await once(worker, 'message')) as [bigint])[0]),
  );
  const kicker = setInterval(() => tokens.map((token) => Vcpu.kick(token)), 1);
  const codes = await Promise.all(workers.map(async (worker) => (await once(worker, 'exit'))[0]));
  clearInterval(kicker);
  t.same(codes, [0, 0, 0, 0]);
});

t.test('a process ends cleanly with everything open', { skip }, async (t) => {
  for (const end of ['', 'process.exit(0)', "import('node:worker_threads')"]) {
    const script = `
      const { Kvm, GuestMemory } = await import(${JSON.stringify(new URL('../../src/kvm/index.js', import.meta.url).href)});
      const kvm = Kvm.open(), vm = kvm.createVm(), memory = GuestMemory.anonymous(1 << 21);
      vm.setMemory(0, 0, memory);
      globalThis.all = [kvm, vm, memory, memory.buffer, vm.createVcpu(0).runPage];
      ${end}`;
    const { status, signal, stderr } = spawnSync(
      process.execPath,
      ['--input-type=module', '-e', script],
      { encoding: 'utf8' },
    );
    t.same({ status, signal, stderr }, { status: 0, signal: null, stderr: '' });
  }
});
