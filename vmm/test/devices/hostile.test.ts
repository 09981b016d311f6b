/**
 * The guest as the enemy: rings, tables, indexes and packets of any content, against each device.
 *
 * Whatever it does, the host completes or throws a GuestFault, in bounded time, and touches nothing but RAM (which the
 * JavaScript engine guarantees; that it is never asked to is what the absence of a RangeError shows).
 * Addresses come from a small stock, so that rings, tables and buffers often lie on each other.
 */
import fc from 'fast-check';
import t from 'tap';
import { ConsoleDevice, EntropyDevice, VsockDevice } from '../../src/devices/index.js';
import { GuestFault, GuestRam, gpa } from '../../src/memory/index.js';
import { MmioTransport, type VirtioDevice, virtio } from '../../src/virtio/index.js';
import { EchoDevice } from '../virtio/echo-device.js';

const { register } = virtio;
const RAM_SIZE = 0x10000;
/** A pass over hostile rings may copy much, but must end. */
const PASS_MS_MAX = 2000;

const address = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(0x1000, 0x1010, 0x2000, 0x2004, 0x3000, 0x4000, 0x8000) },
  { weight: 1, arbitrary: fc.constantFrom(0, RAM_SIZE - 4, RAM_SIZE, 2 ** 32, 2 ** 52) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: RAM_SIZE + 16 }) },
);
const length = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(1, 8, 16, 32, 44, 45, 64, 128, 4096) },
  { weight: 1, arbitrary: fc.constantFrom(0, 24, 0x8000, 0xffffffff) },
);
const descriptor = fc.record({
  address,
  length,
  flags: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(0, 1, 2, 3, 4) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff }) },
  ),
  next: fc.oneof({ weight: 8, arbitrary: fc.nat(7) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
});
const table = fc.array(descriptor, { minLength: 1, maxLength: 8 });
const ring = fc.record({
  idx: fc.oneof({ weight: 8, arbitrary: fc.nat(8) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
  heads: fc.array(
    fc.oneof({ weight: 8, arbitrary: fc.nat(7) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
    { maxLength: 8 },
  ),
});
const queueSetup = fc.record({
  size: fc.constantFrom(1, 2, 8, 8, 8, 64),
  descriptors: fc.constantFrom(0x1000, 0x1000, 0x2000),
  driver: fc.constantFrom(0x2000, 0x2200, 0x3000),
  device: fc.constantFrom(0x2000, 0x2400, 0x3000, 0x3400),
});
/** A packet or control message that is nearly right. */
const packet = fc.record({
  guestPort: fc.constantFrom(1, 2, 1000),
  hostPort: fc.constantFrom(80, 81, 0x4000_0000),
  cid: fc.constantFrom(3, 3, 3, 3, 4),
  length: fc.constantFrom(0, 0, 1, 20, 84, 0xffffffff),
  type: fc.constantFrom(1, 1, 1, 2),
  op: fc.integer({ min: 0, max: 8 }),
  flags: fc.nat(3),
  bufAlloc: fc.constantFrom(0, 1, 100, 0xffffffff),
  fwdCnt: fc.constantFrom(0, 1, 0xffffffff),
});
const at = fc.constantFrom(0x4000, 0x4000, 0x8000, 0x1000);
const action = fc.oneof(
  fc.record({
    kind: fc.constant('table' as const),
    at: fc.constantFrom(0x1000, 0x4000, 0x2000),
    table,
  }),
  fc.record({
    kind: fc.constant('ring' as const),
    at: fc.constantFrom(0x2000, 0x2200, 0x3000),
    ring,
  }),
  fc.record({ kind: fc.constant('packet' as const), at, packet }),
  fc.record({ kind: fc.constant('bytes' as const), at, bytes: fc.uint8Array({ maxLength: 64 }) }),
  fc.record({ kind: fc.constant('host' as const), size: fc.constantFrom(1, 50, 100_000) }),
  fc.record({ kind: fc.constant('notify' as const), queue: fc.nat(6) }),
  fc.record({ kind: fc.constant('process' as const) }),
  fc.record({ kind: fc.constant('process' as const) }),
  fc.record({ kind: fc.constant('rewind' as const) }),
);
type Action = typeof action extends fc.Arbitrary<infer A> ? A : never;

interface Target {
  device: VirtioDevice;
  /** What the host does with the device between two entries of the guest. */
  host(size: number): void;
}

const targets: Record<string, (ram: GuestRam) => Target> = {
  echo: (ram) => ({ device: new EchoDevice(ram, 64), host: () => {} }),
  entropy: (ram) => ({ device: new EntropyDevice(ram), host: () => {} }),
  console: (ram) => {
    const device = new ConsoleDevice(ram, { stdout: () => {}, stderr: () => {} });
    let ended = false;
    return {
      device,
      host: (size) => {
        if (ended) return;
        device.pushInput(new Uint8Array(size));
        ended = size === 1;
        if (ended) device.endInput();
      },
    };
  },
  vsock: (ram) => {
    const device = new VsockDevice(ram, { guestCid: 3, connectionsMax: 4, bufAlloc: 100 });
    device.listen(80, (stream) => {
      stream.onData = (chunk) => {
        if (chunk[0] === 1) stream.pause();
        else stream.write(chunk);
      };
      stream.onEnd = () => stream.end();
    });
    return { device, host: (size) => hostUsesStreams(device, size) };
  },
};

function hostUsesStreams(device: VsockDevice, size: number): void {
  if (device.streams.length < 4) device.connect(1000).write(new Uint8Array(size));
  for (const stream of [...device.streams]) {
    if (size === 1) stream.destroy();
    else stream.resume();
  }
}

function start(
  device: VirtioDevice,
  setups: (typeof queueSetup extends fc.Arbitrary<infer Q> ? Q : never)[],
) {
  const transport = new MmioTransport(device);
  const set = (offset: number, value: number) => transport.write(offset, value, 4);
  for (const value of [0, 1, 3]) set(register.STATUS, value);
  for (const word of [0, 1]) {
    set(register.DEVICE_FEATURES_SEL, word);
    set(register.DRIVER_FEATURES_SEL, word);
    set(register.DRIVER_FEATURES, transport.read(register.DEVICE_FEATURES, 4));
  }
  set(register.STATUS, 11);
  device.queues.forEach((_, i) => {
    const setup = setups[i % setups.length]!;
    set(register.QUEUE_SEL, i);
    set(register.QUEUE_NUM, Math.min(setup.size, transport.read(register.QUEUE_NUM_MAX, 4)));
    set(register.QUEUE_DESC_LOW, setup.descriptors);
    set(register.QUEUE_DRIVER_LOW, setup.driver);
    set(register.QUEUE_DEVICE_LOW, setup.device);
    set(register.QUEUE_READY, 1);
  });
  set(register.STATUS, 15);
  return transport;
}

function writeTable(
  ram: GuestRam,
  base: number,
  rows: Extract<Action, { kind: 'table' }>['table'],
): void {
  rows.forEach((row, i) => {
    ram.setU64(gpa(base + 16 * i), row.address);
    ram.setU32(gpa(base + 16 * i + 8), row.length);
    ram.setU16(gpa(base + 16 * i + 12), row.flags);
    ram.setU16(gpa(base + 16 * i + 14), row.next);
  });
}

function writePacket(
  ram: GuestRam,
  base: number,
  p: Extract<Action, { kind: 'packet' }>['packet'],
): void {
  const words = [p.cid, 0, 2, 0, p.guestPort, p.hostPort, p.length, p.type | (p.op << 16)];
  for (const [i, word] of [...words, p.flags, p.bufAlloc, p.fwdCnt].entries()) {
    ram.setU32(gpa(base + 4 * i), word);
  }
}

/** One action of the guest or the host; a GuestFault is a fine end of it. */
function act(
  action: Action,
  target: Target,
  ram: GuestRam,
  rewind: () => void,
): string | undefined {
  try {
    if (action.kind === 'table') writeTable(ram, action.at, action.table);
    else if (action.kind === 'packet') writePacket(ram, action.at, action.packet);
    else if (action.kind === 'bytes') ram.write(gpa(action.at), action.bytes);
    else if (action.kind === 'ring') {
      ram.setU16(gpa(action.at + 2), action.ring.idx);
      action.ring.heads.forEach((head, i) => {
        ram.setU16(gpa(action.at + 4 + 2 * i), head);
      });
    } else if (action.kind === 'host') target.host(action.size);
    else if (action.kind === 'notify') target.device.notify(action.queue);
    else if (action.kind === 'process') target.device.processQueues();
    else rewind();
    return undefined;
  } catch (error) {
    if (!(error instanceof GuestFault)) throw error;
    return error.code;
  }
}

for (const [name, create] of Object.entries(targets)) {
  t.test(`property: ${name} completes or faults, whatever the guest does`, async (t) => {
    const codes = new Map<string, number>();
    let completed = 0;
    fc.assert(
      fc.property(
        fc.array(queueSetup, { minLength: 1, maxLength: 3 }),
        fc.array(action, { minLength: 5, maxLength: 40 }),
        (setups, actions) => {
          const ram = new GuestRam(new ArrayBuffer(RAM_SIZE));
          const target = create(ram);
          start(target.device, setups);
          const state = target.device.save();
          const began = performance.now();
          for (const step of actions) {
            const code = act(step, target, ram, () => target.device.restore(state));
            if (code === undefined) completed += step.kind === 'process' ? 1 : 0;
            else codes.set(code, (codes.get(code) ?? 0) + 1);
          }
          if (performance.now() - began > PASS_MS_MAX) throw new Error('took too long');
        },
      ),
      { interruptAfterTimeLimit: 4000, numRuns: 20_000 },
    );
    t.comment(`${completed} passes completed; faults:`, Object.fromEntries(codes));
    t.ok(completed > 100 && codes.size >= 5, 'both ends were reached');
  });
}
