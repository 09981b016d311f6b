/** Properties of a stream as a whole: every byte arrives once and in order, whatever the credit, also across rewinds. */
import fc from 'fast-check';
import t from 'tap';
import { VsockDevice, type VsockStream } from '../../src/devices/index.js';
import { gpa } from '../../src/memory/index.js';
import { virtio } from '../../src/virtio/index.js';
import { newRam } from '../virtio/driver.js';
import { GUEST_CID, GuestSocket, op, VsockGuest } from './vsock-guest.js';

const HOST_PORT = 80;
const GUEST_PORT = 1000;

interface Limits {
  hostBufAlloc: number;
  guestBufAlloc: number;
  bufferSize: number;
  eventIdx: boolean;
}

type Step =
  | { kind: 'host write' | 'guest write'; size: number }
  | { kind: 'guest read'; size: number }
  | { kind: 'post'; size: number }
  | { kind: 'host pause' | 'host resume' | 'run' };

/** The n-th byte of each direction: a wrong, lost or repeated byte shows. */
const hostByte = (n: number): number => (n * 7 + (n >> 8)) & 0xff;
const guestByte = (n: number): number => (n * 13 + (n >> 8) + 5) & 0xff;

function pattern(byte: (n: number) => number, start: number, size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, (_, i) => byte(start + i)));
}

/** A stream with both of its ends, and the counts of what went in and came out. */
class World {
  readonly ram = newRam();
  readonly device: VsockDevice;
  readonly guest: VsockGuest;
  readonly socket: GuestSocket;
  stream!: VsockStream;
  hostWritten = 0;
  guestWritten = 0;
  hostRead = 0;

  constructor(limits: Limits) {
    this.device = new VsockDevice(this.ram, { guestCid: GUEST_CID, bufAlloc: limits.hostBufAlloc });
    const { bufferSize } = limits;
    this.guest = new VsockGuest(
      this.device,
      limits.eventIdx ? { bufferSize } : { bufferSize, features: [] },
    );
    this.socket = new GuestSocket(this.guest, HOST_PORT, GUEST_PORT, limits.guestBufAlloc);
    this.device.listen(HOST_PORT, (stream) => {
      this.stream = stream;
      stream.onData = (chunk) => {
        for (const byte of chunk) {
          if (byte !== guestByte(this.hostRead++)) throw new Error('the host read a wrong byte');
        }
      };
    });
    this.post(4);
    this.socket.packet(op.REQUEST);
    this.run();
    if (!this.socket.open) throw new Error('not accepted');
  }

  post(count: number): void {
    if (this.guest.driver.transport.device.negotiated(virtio.feature.RING_INDIRECT_DESC))
      this.guest.post(count);
    else for (let i = 0; i < count; i++) this.guest.driver.queues[0]!.post([this.guest.bufferSize]);
  }

  run(): void {
    this.device.processQueues();
    for (const packet of this.guest.receive()) this.socket.handle(packet);
  }

  take(step: Step): void {
    switch (step.kind) {
      case 'host write':
        this.stream.write(pattern(hostByte, this.hostWritten, step.size));
        this.hostWritten += step.size;
        break;
      case 'guest write':
        this.guestWritten += this.socket.write(pattern(guestByte, this.guestWritten, step.size));
        break;
      case 'guest read':
        this.socket.read(step.size);
        break;
      case 'post':
        this.post(step.size);
        break;
      case 'host pause':
        this.stream.pause();
        break;
      case 'host resume':
        this.stream.resume();
        break;
      case 'run':
        this.run();
    }
  }

  /** Lets both sides finish what they have begun, then compares everything. */
  settle(): void {
    this.stream.resume();
    for (let round = 0; round < 100_000; round++) {
      this.post(8);
      this.run();
      this.socket.read(1 << 30);
      const received = this.socket.received.reduce((sum, part) => sum + part.length, 0);
      if (received === this.hostWritten && this.hostRead === this.guestWritten) {
        this.check();
        return;
      }
    }
    throw new Error('the stream hangs');
  }

  check(): void {
    const received = Buffer.concat(this.socket.received);
    if (!received.equals(pattern(hostByte, 0, this.hostWritten)))
      throw new Error('the guest read wrong bytes');
    if (this.socket.reset || this.stream.closed) throw new Error('the stream broke');
    if (this.guest.driver.queues.some((queue) => queue.kicksWanted > 0))
      throw new Error('a kick was asked for');
  }

  save(): () => void {
    const memory = this.ram.view(gpa(0), this.ram.size).slice();
    const state = structuredClone(this.device.save());
    const restores = [this.guest.driver.save(), this.socket.save()];
    const { hostWritten, guestWritten, hostRead } = this;
    return () => {
      this.ram.write(gpa(0), memory);
      for (const restore of restores) restore();
      this.device.restore(state);
      Object.assign(this, { hostWritten, guestWritten, hostRead });
    };
  }
}

const size = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 3000 }));
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom('host write' as const, 'guest write' as const), size }),
  fc.record({ kind: fc.constant('guest read' as const), size }),
  fc.record({ kind: fc.constant('post' as const), size: fc.integer({ min: 1, max: 8 }) }),
  fc.record({
    kind: fc.constantFrom('host pause' as const, 'host resume' as const, 'run' as const),
  }),
  fc.record({ kind: fc.constant('run' as const) }),
);
const limits: fc.Arbitrary<Limits> = fc.record({
  hostBufAlloc: fc.constantFrom(1, 2, 7, 100, 4096),
  guestBufAlloc: fc.constantFrom(1, 3, 64, 1000, 65536),
  bufferSize: fc.constantFrom(46, 64, 500, 2000),
  eventIdx: fc.boolean(),
});

t.test('property: bytes arrive once and in order under any credit', async () => {
  fc.assert(
    fc.property(limits, fc.array(step, { maxLength: 60 }), (limits, steps) => {
      const world = new World(limits);
      for (const step of steps) world.take(step);
      world.settle();
    }),
    { interruptAfterTimeLimit: 4000, numRuns: 2000 },
  );
});

t.test('property: a rewind in mid-stream leads to the same bytes again', async () => {
  const run = fc.array(step, { maxLength: 25 });
  fc.assert(
    fc.property(
      limits,
      run,
      fc.array(run, { minLength: 1, maxLength: 4 }),
      (limits, before, rounds) => {
        const world = new World(limits);
        const { stream } = world;
        for (const step of before) world.take(step);
        const rewind = world.save();
        for (const [i, steps] of rounds.entries()) {
          for (const step of steps) world.take(step);
          if (i % 2 === 1) world.stream.destroy();
          rewind();
          if (world.stream !== stream || stream.closed) throw new Error('the stream is not back');
          for (const step of steps) world.take(step);
          world.settle();
          rewind();
        }
      },
    ),
    { interruptAfterTimeLimit: 4000, numRuns: 2000 },
  );
});

type HostileStep =
  | {
      kind: 'packet';
      op: number;
      guestPort: number;
      hostPort: number;
      flags: number;
      bufAlloc: number;
      fwdCnt: number;
      size: number;
    }
  | HostStep
  | { kind: 'post' }
  | { kind: 'run' };
interface HostStep {
  kind: 'write' | 'end' | 'destroy' | 'pause' | 'resume' | 'connect';
  which: number;
  size: number;
}

const hostileStep: fc.Arbitrary<HostileStep> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('packet' as const),
      op: fc.constantFrom(1, 1, 1, 2, 3, 4, 5, 5, 5, 6, 7, 8),
      guestPort: fc.constantFrom(1, 2, 3),
      hostPort: fc.constantFrom(80, 80, 80, 81, 0x4000_0000, 0x4000_0001),
      flags: fc.nat(4),
      bufAlloc: fc.constantFrom(0, 1, 100, 65536, 0xffffffff),
      fwdCnt: fc.constantFrom(0, 1, 50, 0xffffffff),
      size: fc.constantFrom(0, 1, 30, 101),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('write', 'write', 'end', 'destroy', 'pause', 'resume', 'connect'),
      which: fc.nat(10),
      size: fc.constantFrom(0, 1, 100, 5000),
    }),
  },
  { weight: 3, arbitrary: fc.constantFrom({ kind: 'post' as const }, { kind: 'run' as const }) },
);

/** Follows all streams and holds each to its promises: end once, close once and last, no data after either. */
class Watch {
  readonly streams: VsockStream[] = [];
  readonly ended = new Set<VsockStream>();
  opened = 0;
  closes = 0;

  add(stream: VsockStream): void {
    this.opened++;
    let ends = 0;
    let closes = 0;
    stream.onData = (chunk) => {
      if (ends > 0 || closes > 0 || chunk.length === 0) throw new Error('data after the end');
    };
    stream.onEnd = () => {
      if (ends++ > 0 || closes > 0) throw new Error('ended twice');
    };
    stream.onClose = () => {
      if (closes++ > 0) throw new Error('closed twice');
      this.closes++;
      this.streams.splice(this.streams.indexOf(stream), 1);
    };
    this.streams.push(stream);
  }
}

t.test('property: streams keep their promises under any sequence of packets', async (t) => {
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(hostileStep, { maxLength: 80 }), (steps) => {
      const device = new VsockDevice(newRam(), {
        guestCid: GUEST_CID,
        bufAlloc: 100,
        connectionsMax: 4,
      });
      const guest = new VsockGuest(device);
      const watch = new Watch();
      device.listen(HOST_PORT, (stream) => watch.add(stream));
      for (const step of steps) {
        if (step.kind === 'packet') guest.send({ ...step, payload: Buffer.alloc(step.size) });
        else if (step.kind === 'post') guest.post(3);
        else if (step.kind === 'run') {
          device.processQueues();
          guest.receive();
        } else hostStep(device, watch, step);
        const { connections, resets } = device.save().specific;
        const held = connections.some(({ input }) => input.length > 100);
        if (connections.length > 4 || resets.length > 64 + 4 || held)
          throw new Error('a bound was passed');
        if (watch.streams.length !== connections.length) throw new Error('a stream was lost');
        if (watch.opened - watch.closes !== connections.length) throw new Error('a close was lost');
      }
      accepted += watch.opened;
      for (let i = 0; i < 20; i++) {
        for (const stream of [...watch.streams]) stream.destroy();
        guest.post(32);
        device.processQueues();
        guest.receive();
      }
      const { connections, resets } = device.save().specific;
      if (connections.length > 0 || resets.length > 0) throw new Error('something is left');
    }),
    { interruptAfterTimeLimit: 4000, numRuns: 5000 },
  );
  t.ok(accepted > 0, `${accepted} streams were opened`);
});

function hostStep(device: VsockDevice, watch: Watch, step: HostStep): void {
  if (step.kind === 'connect') {
    if (device.streams.length < 4) watch.add(device.connect(1 + (step.which % 3)));
    return;
  }
  const stream = watch.streams[step.which % watch.streams.length];
  if (stream === undefined) return;
  if (step.kind === 'end') {
    watch.ended.add(stream);
    stream.end();
  } else if (step.kind !== 'write') stream[step.kind]();
  else if (!watch.ended.has(stream)) stream.write(Buffer.alloc(step.size));
}
