import t from 'tap';
import {
  VsockDevice,
  type VsockOptions,
  type VsockStream,
  withStreams,
} from '../../src/devices/index.js';
import { type GuestRam, gpa } from '../../src/memory/index.js';
import { newRam, RAM_SIZE } from '../virtio/driver.js';
import { GUEST_CID, op, type Packet, VsockGuest } from './vsock-guest.js';

interface Log {
  data: string;
  events: string[];
}

function follow(stream: VsockStream): Log {
  const log: Log = { data: '', events: [] };
  stream.onOpen = () => log.events.push('open');
  stream.onData = (chunk) => {
    log.data += Buffer.from(chunk).toString();
  };
  stream.onEnd = () => log.events.push('end');
  stream.onDrain = () => log.events.push('drain');
  stream.onClose = (reason) => log.events.push(reason);
  return log;
}

function setUp(options: Partial<VsockOptions> = {}) {
  const ram = newRam();
  const device = new VsockDevice(ram, { guestCid: GUEST_CID, ...options });
  const guest = new VsockGuest(device);
  guest.post(8);
  const streams: { stream: VsockStream; log: Log }[] = [];
  device.listen(80, (stream) => streams.push({ stream, log: follow(stream) }));
  /** What the host answers to the packets, as "op" or "op flags" or data. */
  const exchange = (...packets: (Partial<Packet> & { op: number })[]): Packet[] => {
    for (const packet of packets) guest.send(packet);
    device.processQueues();
    return guest.receive();
  };
  const open = () => {
    exchange({ op: op.REQUEST });
    return streams.at(-1)!;
  };
  return { ram, device, guest, streams, exchange, open };
}

const ops = (packets: Packet[]): number[] => packets.map((packet) => packet.op);
const bytes = (text: string): Buffer => Buffer.from(text);
const fault = (code: string) => ({ name: 'GuestFault', code });

t.test('the guest opens a stream, both send, both end', async (t) => {
  const { device, guest, exchange, streams } = setUp();
  const [response] = exchange({ op: op.REQUEST });
  t.match(response, {
    op: op.RESPONSE,
    source: 2n,
    target: 3n,
    hostPort: 80,
    guestPort: 1000,
    type: 1,
  });
  t.equal(response!.bufAlloc, 256 * 1024);
  const { stream, log } = streams[0]!;
  t.same([stream.hostPort, stream.guestPort], [80, 1000]);
  exchange({ op: op.RW, payload: bytes('ping') });
  t.equal(log.data, 'ping');
  t.equal(stream.write(bytes('pong')), true);
  const [answer] = guest.receive();
  t.match(answer, { op: op.RW, fwdCnt: 4 });
  t.equal(answer!.payload.toString(), 'pong');
  t.same(ops(exchange({ op: op.SHUTDOWN, flags: 2 })), []);
  t.same(log.events, ['end']);
  guest.post(4);
  stream.end();
  t.match(guest.receive(), [{ op: op.SHUTDOWN, flags: 3 }]);
  exchange({ op: op.RST });
  t.same(log.events, ['end', 'closed']);
  t.equal(stream.closed, true);
  t.equal(device.streams.length, 0);
});

t.test('a guest that closes gets its reset', async (t) => {
  const { open, exchange } = setUp();
  const { log, stream } = open();
  t.same(ops(exchange({ op: op.SHUTDOWN, flags: 3 })), [op.RST]);
  t.equal(stream.write(bytes('late')), true, 'dropped, and nobody waits for it');
  t.same(log.events, ['end', 'closed']);
});

t.test('the host opens a stream', async (t) => {
  const { device, guest, exchange } = setUp();
  const stream = device.connect(9000);
  const log = follow(stream);
  stream.write(bytes('early'));
  const [request] = guest.receive();
  t.match(request, { op: op.REQUEST, guestPort: 9000 });
  const { hostPort } = request!;
  const answer = exchange({ op: op.RESPONSE, hostPort, guestPort: 9000 });
  t.same(log.events, ['open']);
  t.match(answer, [{ op: op.RW, hostPort, guestPort: 9000 }]);
  t.equal(answer[0]!.payload.toString(), 'early');
  t.not(device.connect(9000).hostPort, hostPort);
});

t.test('the guest refuses a stream', async (t) => {
  const { device, exchange, guest } = setUp();
  const stream = device.connect(9000);
  const log = follow(stream);
  guest.receive();
  exchange({ op: op.RST, hostPort: stream.hostPort, guestPort: 9000 });
  t.same(log.events, ['refused']);
});

t.test('connect() before the driver is there waits for it', async (t) => {
  const device = new VsockDevice(newRam(), { guestCid: GUEST_CID });
  device.connect(9000);
  const guest = new VsockGuest(device);
  guest.post(2);
  t.equal(device.processQueues(), true);
  t.same(ops(guest.receive()), [op.REQUEST]);
});

t.test('what belongs to nothing is reset, a reset is not answered', async (t) => {
  const { exchange, streams } = setUp();
  t.match(exchange({ op: op.RW, hostPort: 81, payload: bytes('x') }), [
    { op: op.RST, hostPort: 81 },
  ]);
  t.match(exchange({ op: op.REQUEST, hostPort: 81 }), [{ op: op.RST }]);
  t.match(exchange({ op: op.REQUEST, type: 2 }), [{ op: op.RST, type: 2 }]);
  t.match(exchange({ op: op.REQUEST, target: 2n ** 64n - 1n }), [
    { op: op.RST, source: 2n ** 64n - 1n },
  ]);
  t.same(exchange({ op: op.RST }), []);
  t.equal(streams.length, 0);
});

t.test('broken packets end the guest', async (t) => {
  const a = setUp();
  t.throws(() => a.exchange({ op: op.REQUEST, source: 4n }), fault('MAYFLY_VSOCK_BAD_CID'));
  const b = setUp();
  b.guest.driver.queues[1]!.post([Buffer.alloc(43)]);
  t.throws(() => b.device.processQueues(), fault('MAYFLY_VIRTIO_SHORT_BUFFER'));
  const c = setUp();
  const header = Buffer.alloc(44);
  header.writeUInt32LE(GUEST_CID, 0);
  header.writeUInt32LE(1, 24);
  c.guest.driver.queues[1]!.post([header]);
  t.throws(() => c.device.processQueues(), fault('MAYFLY_VSOCK_BAD_LENGTH'));
});

t.test('a receive buffer with no room for data is no good for data', async (t) => {
  const { device, guest, open } = setUp();
  const { stream } = open();
  guest.driver.queues[0]!.collect();
  for (let i = 0; i < 7; i++) stream.write(bytes('x'));
  guest.receive();
  guest.driver.queues[0]!.post([44]);
  stream.write(bytes('x'));
  t.throws(() => device.processQueues(), fault('MAYFLY_VIRTIO_SHORT_BUFFER'));
});

t.test('bad receive buffers hit the machine, not the host that happens to write', async (t) => {
  const device = new VsockDevice(newRam(), { guestCid: GUEST_CID });
  const guest = new VsockGuest(device);
  const state = device.save();
  let woken = 0;
  device.onInput = () => {
    woken++;
  };
  guest.driver.queues[0]!.post([43]);
  device.connect(1).write(bytes('x'));
  t.equal(woken, 1);
  for (let i = 0; i < 2; i++) {
    t.throws(
      () => device.processQueues(),
      fault('MAYFLY_VIRTIO_SHORT_BUFFER'),
      'until it is rewound',
    );
  }
  device.restore(state);
  t.equal(device.streams.length, 0);
});

t.test('a broken protocol breaks the stream only', async (t) => {
  for (const packet of [{ op: op.REQUEST }, { op: op.RESPONSE }, { op: 99 }]) {
    const { open, exchange } = setUp();
    const { log } = open();
    t.same(ops(exchange(packet)), [op.RST]);
    t.same(log.events, ['reset']);
  }
  const { open, exchange } = setUp();
  const { log } = open();
  exchange({ op: op.SHUTDOWN, flags: 2 });
  t.same(ops(exchange({ op: op.RW, payload: bytes('more') })), [op.RST]);
  t.same([log.data, log.events], ['', ['end', 'reset']]);
});

t.test('credit: the host stops at the guest’s limit and asks', async (t) => {
  const { exchange, streams, guest } = setUp();
  exchange({ op: op.REQUEST, bufAlloc: 10 });
  const { stream, log } = streams[0]!;
  t.equal(stream.write(bytes('0123456789abcdef')), true);
  t.equal(stream.bufferedBytes, 6);
  const sent = guest.receive();
  t.same(ops(sent), [op.RW, op.CREDIT_REQUEST]);
  t.equal(sent[0]!.payload.toString(), '0123456789');
  t.same(exchange({ op: op.CREDIT_UPDATE, bufAlloc: 10, fwdCnt: 0 }), [], 'asked once');
  const more = exchange({ op: op.CREDIT_UPDATE, bufAlloc: 10, fwdCnt: 4 });
  t.equal(more[0]!.payload.toString(), 'abcd');
  stream.end();
  const last = exchange({ op: op.CREDIT_UPDATE, bufAlloc: 10, fwdCnt: 14 });
  t.same(
    ops(last).filter((o) => o !== op.CREDIT_REQUEST),
    [op.RW, op.SHUTDOWN],
    'end comes last',
  );
  t.throws(() => stream.write(bytes('x')), { code: 'MAYFLY_VSOCK_ENDED' });
  t.same(log.events, []);
});

t.test('credit: a guest that ignores the host’s limit is reset', async (t) => {
  const { open, exchange } = setUp({ bufAlloc: 100 });
  const { stream, log } = open();
  stream.pause();
  exchange({ op: op.RW, payload: Buffer.alloc(60) });
  t.same(ops(exchange({ op: op.RW, payload: Buffer.alloc(41) })), [op.RST]);
  t.same(log.events, ['reset']);
});

t.test(
  'a paused stream holds data, end and close back, and gives credit when it goes on',
  async (t) => {
    const { open, exchange, guest, device } = setUp({ bufAlloc: 8 });
    const { stream, log } = open();
    stream.pause();
    exchange({ op: op.RW, payload: bytes('12345') });
    exchange({ op: op.RW, payload: bytes('678') });
    t.equal(log.data, '');
    t.match(exchange({ op: op.CREDIT_REQUEST }), [
      { op: op.CREDIT_UPDATE, fwdCnt: 0, bufAlloc: 8 },
    ]);
    stream.resume();
    t.equal(log.data, '12345678');
    t.match(guest.receive(), [{ op: op.CREDIT_UPDATE, fwdCnt: 8 }]);
    stream.pause();
    exchange({ op: op.RW, payload: bytes('bye') });
    t.same(ops(exchange({ op: op.SHUTDOWN, flags: 3 })), []);
    t.equal(device.streams.length, 1, 'still counted');
    t.same(log.events, []);
    guest.post(4);
    stream.resume();
    t.equal(log.data, '12345678bye');
    t.same(log.events, ['end', 'closed']);
    t.same(ops(guest.receive()), [op.RST]);
  },
);

t.test('what a paused stream holds is not lost when both sides have ended', async (t) => {
  const { open, exchange, guest } = setUp();
  const { stream, log } = open();
  stream.pause();
  exchange({ op: op.RW, payload: bytes('the last') });
  stream.end();
  t.match(guest.receive(), [{ op: op.SHUTDOWN, flags: 2 }], 'the host sends no more');
  t.same(ops(exchange({ op: op.SHUTDOWN, flags: 2 })), [], 'and still takes what was sent');
  guest.post(4);
  stream.resume();
  t.same([log.data, log.events], ['the last', ['end']]);
  t.match(guest.receive(), [{ op: op.SHUTDOWN, flags: 3 }]);
  exchange({ op: op.RST });
  t.same(log.events, ['end', 'closed']);
});

t.test('streams, resets and waiting bytes have bounds', async (t) => {
  const { device, guest, streams } = setUp({ connectionsMax: 10 });
  const pump = () => {
    device.processQueues();
    guest.driver.queues[1]!.collect();
  };
  for (let i = 0; i < 20; i++) guest.send({ op: op.REQUEST, guestPort: i });
  pump();
  t.equal(streams.length, 10);
  t.equal(device.streams.length, 10);
  const opened = Array.from({ length: 10 }, () => device.connect(1));
  t.equal(device.streams.length, 20, 'the host has places of its own');
  t.throws(() => device.connect(1), { code: 'MAYFLY_VSOCK_TOO_MANY' });
  for (const stream of opened) stream.destroy();
  for (let i = 0; i < 1000 && guest.send({ op: op.RW, guestPort: 100 + i }); i++) pump();
  t.equal(device.save().specific.resets.length, 64);
  t.equal(streams[0]!.stream.write(Buffer.alloc(300_000)), false, 'asks for a pause');
  for (let i = 0; i < 200; i++) {
    guest.post(32);
    pump();
    guest.receive();
  }
  t.equal(device.save().specific.resets.length, 0);
});

t.test('a full guest takes turns between streams and onDrain follows', async (t) => {
  const { device, guest, streams, exchange } = setUp();
  const bufAlloc = 2 ** 24;
  exchange({ op: op.REQUEST, guestPort: 1, bufAlloc }, { op: op.REQUEST, guestPort: 2, bufAlloc });
  const [a, b] = [streams[0]!, streams[1]!];
  t.equal(a.stream.write(Buffer.alloc(300_000)), false);
  t.equal(b.stream.write(bytes('short')), true);
  guest.receive();
  guest.post(2);
  device.processQueues();
  t.same(
    guest.receive().map((packet) => packet.guestPort),
    [1, 2],
  );
  for (let i = 0; i < 1000 && a.log.events.length === 0; i++) {
    guest.post(2);
    device.processQueues();
    guest.receive();
  }
  t.same(a.log.events, ['drain']);
  t.same(b.log.events, []);
});

t.test('held, it leaves guest memory as it is, whatever the host does', async (t) => {
  const { ram, device, guest, open, exchange } = setUp();
  const { stream, log } = open();
  exchange({ op: op.REQUEST, guestPort: 1001 });
  const before = Buffer.from(ram.view(gpa(0), RAM_SIZE));
  const saved = device.save();
  device.hold();
  t.equal(stream.write(bytes('one ')), true);
  stream.write(bytes('two'));
  stream.end();
  device.connect(7);
  device.stream(80, 1001)!.destroy();
  t.equal(before.compare(ram.view(gpa(0), RAM_SIZE)), 0);
  t.same(device.save().queues, saved.queues);
  const wokenBy: string[] = [];
  device.onInput = () => wokenBy.push('input');
  device.release();
  t.same(wokenBy, ['input']);
  device.release();
  guest.post(8);
  const packets = exchange();
  t.same(ops(packets).sort(), [op.REQUEST, op.RST, op.SHUTDOWN, op.RW].sort());
  t.equal(packets.find((packet) => packet.op === op.RW)?.payload.toString(), 'one two');
  t.same(log.events, []);
});

t.test('destroy() resets; the guest can reuse the ports at once', async (t) => {
  const { open, exchange, guest, device, streams } = setUp();
  const { stream, log } = open();
  for (let i = 0; i < 6; i++) stream.write(bytes('fill the buffers'));
  guest.driver.queues[0]!.collect();
  stream.write(bytes('last buffer'));
  stream.destroy();
  t.same(log.events, ['destroyed']);
  stream.destroy();
  t.same(log.events, ['destroyed'], 'once');
  t.equal(device.save().specific.resets.length, 1);
  exchange({ op: op.RST });
  exchange({ op: op.REQUEST });
  t.equal(streams.length, 2);
  guest.receive();
  guest.post(8);
  device.processQueues();
  t.same(ops(guest.receive()), [op.RESPONSE], 'the old reset is not for the new stream');
});

t.test('closed streams are not counted while another one waits', async (t) => {
  const { device, exchange, open } = setUp();
  open().stream.write(Buffer.alloc(100_000));
  for (let i = 0; i < 500; i++) {
    exchange({ op: op.REQUEST, guestPort: 5 });
    exchange({ op: op.RST, guestPort: 5 });
  }
  t.equal(device.streams.length, 1);
});

t.test('a driver restart ends what was open', async (t) => {
  const { device, open } = setUp();
  const { log } = open();
  new VsockGuest(device);
  t.same(log.events, ['reset']);
});

t.test('streams that nobody goes on with are reset in a clone', async (t) => {
  const { device, guest, exchange } = setUp();
  exchange({ op: op.REQUEST, guestPort: 1 }, { op: op.REQUEST, guestPort: 2 });
  device.connect(9); // heard of by the guest
  guest.receive();
  const before = device.save();
  const specific = withStreams(before.specific, (_host, guestPort) => guestPort === 2);
  const clone = new VsockDevice(guest.device.ram, { guestCid: GUEST_CID });
  clone.restore({ ...before, specific });
  t.equal(clone.streams.length, 1);
  const kept = clone.stream(80, 2)!;
  kept.write(bytes('hello')); // behind the resets
  guest.post(8);
  clone.processQueues();
  t.match(guest.receive(), [
    { op: op.RST, hostPort: 80, guestPort: 1, source: 2n },
    { op: op.RST, guestPort: 9 },
    { op: op.RW, guestPort: 2, payload: bytes('hello') },
  ]);
  t.equal(clone.save().specific.resets.length, 0);
  device.restore({ ...before, specific: withStreams(before.specific, () => true) });
  t.same(device.save().specific, before.specific);
});

function checkpoint(ram: GuestRam, guest: VsockGuest) {
  const memory = ram.view(gpa(0), ram.size).slice();
  const state = structuredClone(guest.device.save());
  const rewindDriver = guest.driver.save();
  return {
    state,
    rewind: () => {
      ram.write(gpa(0), memory);
      rewindDriver();
      guest.device.restore(state);
    },
  };
}

t.test('a stream that was open at the checkpoint goes on after each rewind', async (t) => {
  const { ram, device, guest, exchange, open, streams } = setUp();
  const { stream, log } = open();
  exchange({ op: op.RW, payload: bytes('warm-up') });
  guest.post(8);
  const { rewind } = checkpoint(ram, guest);
  for (let round = 0; round < 4; round++) {
    log.data = '';
    log.events.length = 0;
    stream.write(bytes(`request ${round}`));
    const [request] = guest.receive();
    t.match(request, { op: op.RW, fwdCnt: 7 });
    t.equal(request!.payload.toString(), `request ${round}`);
    exchange({ op: op.RW, payload: bytes(`response ${round}`) });
    t.equal(log.data, `response ${round}`);
    // Each round leaves another mess behind.
    const ephemeral = device.connect(7);
    const ephemeralLog = follow(ephemeral);
    if (round === 1) exchange({ op: op.SHUTDOWN, flags: 3 });
    if (round === 2) {
      stream.destroy();
      exchange({ op: op.REQUEST });
      t.equal(streams.length, 2, 'the same ports, another stream');
    }
    if (round === 3) stream.write(Buffer.alloc(200_000));
    rewind();
    t.same(ephemeralLog.events, ['rewound']);
    t.equal(device.stream(80, 1000), stream);
    t.same([stream.closed, stream.bufferedBytes], [false, 0]);
  }
  t.same(streams[1]!.log.events, ['rewound']);
});

t.test('a checkpoint of another process brings its streams along', async (t) => {
  const first = setUp();
  first.open();
  first.guest.post(8);
  const state = structuredClone(first.device.save());
  const device = new VsockDevice(first.ram, { guestCid: GUEST_CID });
  device.restore(state);
  const stream = device.stream(80, 1000)!;
  const log = follow(stream);
  stream.write(bytes('hello again'));
  const [packet] = first.guest.receive();
  t.equal(packet!.payload.toString(), 'hello again');
  first.guest.send({ op: op.RW, payload: bytes('hello') });
  device.processQueues();
  t.equal(log.data, 'hello');
});

t.test('restore() inside a callback is refused', async (t) => {
  const { device, open, guest } = setUp();
  const { stream } = open();
  const state = device.save();
  stream.onData = () => device.restore(state);
  guest.send({ op: op.RW, payload: bytes('x') });
  t.throws(() => device.processQueues(), { code: 'MAYFLY_DEVICE_BUSY' });
});
