/**
 * Clones that come and go leave nothing behind in the process, and streams that lead nowhere are reset. Machines of the
 * golden checkpoint, which end at once: MAYFLY_CLONES says how many, 10,000 take a while.
 */
import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { CheckpointStore, cloneMachine, importCheckpoint } from '../../src/checkpoint/index.js';
import { runToEnd } from '../../src/machine/run-to-end.js';
import { golden, goldenFile, STREAM } from './golden.js';
import { scratchDir } from './scratch.js';

const skip = existsSync('/dev/kvm') ? false : 'there is no /dev/kvm';
const COUNT = Number(process.env.MAYFLY_CLONES ?? 100);
/** Alive at a time. */
const TOGETHER = 10;

const console = { stdout() {}, stderr() {} };

/** Of files and of KVM, the program's own aside: heaps come and go in pieces of 256 KiB. */
function mappings(): number {
  return readFileSync('/proc/self/maps', 'latin1').match(/ (\/|anon_inode:).*$/gm)?.length ?? 0;
}

function resources() {
  const status = readFileSync('/proc/self/status', 'latin1');
  const kilobytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  return {
    fds: readdirSync('/proc/self/fd').length,
    mappings: mappings(),
    addressMegabytes: kilobytes('VmSize') / 1024,
    memoryMegabytes: kilobytes('VmRSS') / 1024,
  };
}

t.test('clones leave nothing behind', { skip }, async (t) => {
  const dir = scratchDir();
  t.teardown(() => dir.remove());
  const store = await CheckpointStore.open(dir.path);
  await importCheckpoint(store, createReadStream(goldenFile));
  const loaded = await store.load('second');
  const some = async () => {
    const machines = Array.from({ length: TOGETHER }, () => cloneMachine(loaded, console));
    for (const machine of machines) {
      const { exitCode } = await runToEnd(machine, { timeoutMs: 60_000 });
      if (exitCode !== golden.second.exitCode) throw new Error(`exit code ${exitCode}`);
    }
    for (const machine of machines) machine.close();
  };
  for (let i = 0; i < 3; i++) await some();
  const before = resources();
  for (let done = 0; done < COUNT; done += TOGETHER) await some();
  const after = resources();
  t.comment(JSON.stringify({ clones: COUNT, before, after }));
  t.ok(after.fds - before.fds <= 2, `${after.fds} file descriptors, before ${before.fds}`);
  t.ok(after.mappings - before.mappings < 20, `${after.mappings} mappings, ${before.mappings}`);
  const grown = after.addressMegabytes - before.addressMegabytes;
  t.ok(grown < 64 + COUNT / 100, `${grown} MiB of addresses more`);
  const resident = after.memoryMegabytes - before.memoryMegabytes;
  t.ok(resident < 32 + COUNT / 200, `${resident} MiB of memory more`);
  loaded.close();
  t.equal(readdirSync('/proc/self/fd').length < before.fds, true, 'what was loaded is closed');
});

t.test('streams of a checkpoint are reset, or the caller’s', { skip }, async (t) => {
  const dir = scratchDir();
  t.teardown(() => dir.remove());
  const store = await CheckpointStore.open(dir.path);
  await importCheckpoint(store, createReadStream(goldenFile));
  const loaded = await store.load('first');
  t.teardown(() => loaded.close());
  const { hostPort, guestPort } = STREAM;
  const left = cloneMachine(loaded, console);
  t.equal(left.devices.vsock.stream(hostPort, guestPort), undefined);
  left.close();
  const isKept = (port: number) => port === hostPort;
  const taken = cloneMachine(loaded, console, { isKept });
  t.ok(taken.devices.vsock.stream(hostPort, guestPort));
  taken.close();
});
