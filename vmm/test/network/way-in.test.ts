/** Published ports: clients on the loopback interface on one side, a guest's packets of vsock on the other. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { VsockDevice } from '../../src/devices/index.js';
import { type PublishedPort, WayIn, type WayInOptions } from '../../src/network/index.js';
import { resetSocket } from '../../src/network/reset-socket.js';
import { GUEST_CID, GuestSocket, op, VsockGuest } from '../devices/vsock-guest.js';
import { newRam } from '../virtio/driver.js';

type Tap = { teardown(f: () => void): void };

const PORT = 80;
const LOCAL = { address: '127.0.0.1', port: 0, guestPort: PORT };

/** A guest with a server, and its way in. */
class World {
  readonly device = new VsockDevice(newRam(), { guestCid: GUEST_CID });
  readonly guest = new VsockGuest(this.device, { bufferSize: 3000 });
  readonly waits: PublishedPort[] = [];
  /** By the host's port, in the order of their requests. */
  readonly accepted = new Map<number, GuestSocket>();
  listening = true;
  requests = 0;
  wayIn!: WayIn;

  static async create(t: Tap, options: WayInOptions = {}, ports = [LOCAL]): Promise<World> {
    const world = new World();
    world.wayIn = await WayIn.listen(ports, {
      waits: (port) => world.waits.push(port),
      ...options,
    });
    t.teardown(() => world.wayIn.close());
    world.guest.post(32);
    return world;
  }

  start(): this {
    this.wayIn.open(this.device);
    return this;
  }

  async client(t: Tap, index = 0): Promise<Client> {
    const { address, port } = this.wayIn.ports[index]!;
    const client = new Client(connect({ host: address, port, allowHalfOpen: true }));
    t.teardown(() => client.socket.destroy());
    await once(client.socket, 'connect');
    return client;
  }

  socket(n = 0): GuestSocket {
    return [...this.accepted.values()][n]!;
  }

  /** Lets both sides do what they can; `read`: the program in the guest reads all that is there. */
  run(read = true): void {
    for (let round = 0; round < 4; round++) {
      this.device.processQueues();
      for (const packet of this.guest.receive()) {
        if (packet.op === op.REQUEST) this.#answer(packet.hostPort, packet.guestPort);
        else this.accepted.get(packet.hostPort)?.handle(packet);
        if (packet.op === op.REQUEST) this.accepted.get(packet.hostPort)?.handle(packet);
      }
      for (const socket of read ? this.accepted.values() : []) {
        if (!socket.reset) socket.read(socket.waiting);
      }
      this.guest.post(32);
    }
  }

  async until(what: () => boolean, read = true): Promise<void> {
    for (let i = 0; i < 3000 && !what(); i++) {
      this.run(read);
      await sleep(1);
    }
    if (!what()) throw new Error('it did not happen');
  }

  /** For a while. */
  async settle(ms = 30, read = true): Promise<void> {
    for (const end = Date.now() + ms; Date.now() < end; await sleep(1)) this.run(read);
  }

  #answer(hostPort: number, guestPort: number): void {
    this.requests++;
    if (!this.listening || guestPort !== PORT) {
      this.guest.send({ op: op.RST, hostPort, guestPort });
      return;
    }
    const socket = new GuestSocket(this.guest, hostPort, guestPort, 65536);
    this.accepted.set(hostPort, socket);
    socket.packet(op.RESPONSE);
  }
}

class Client {
  readonly socket: Socket;
  bytes = 0;
  text = '';
  ended = false;
  error: string | undefined;
  closed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.bytes += chunk.length;
      this.text = (this.text + chunk.toString('latin1')).slice(-1000);
    });
    socket.on('end', () => {
      this.ended = true;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code;
    });
    socket.on('close', () => {
      this.closed = true;
    });
  }
}

const textOf = (socket: GuestSocket): string => Buffer.concat(socket.received).toString();

t.test('a connection carries bytes both ways, half-closes and is counted', async (t) => {
  const world = (await World.create(t)).start();
  const client = await world.client(t);
  client.socket.write('question');
  await world.until(() => world.accepted.size === 1 && textOf(world.socket()) === 'question');
  client.socket.end(' all');
  await world.until(() => (world.socket().hostShutdown & 2) !== 0);
  t.equal(textOf(world.socket()), 'question all');
  world.socket().write(Buffer.from('answer'));
  await world.until(() => client.text === 'answer');
  t.notOk(client.ended);
  world.socket().packet(op.SHUTDOWN, { flags: 3 });
  await world.until(() => client.closed);
  t.ok(client.ended);
  t.equal(client.error, undefined);
  t.same(world.device.streams, []);
  t.match(world.wayIn.stats, [
    { ...LOCAL, port: Number, connections: 1, failed: 0, bytesSent: 6, bytesReceived: 12 },
  ]);
});

t.test('the server sends the last byte first, its client goes on', async (t) => {
  const world = (await World.create(t)).start();
  const client = await world.client(t);
  await world.until(() => world.accepted.size === 1 && world.socket().credit > 0);
  world.socket().write(Buffer.from('hello'));
  world.socket().packet(op.SHUTDOWN, { flags: 2 });
  await world.until(() => client.ended);
  client.socket.write('more');
  await world.until(() => textOf(world.socket()) === 'more');
  client.socket.end();
  await world.until(() => world.socket().hostShutdown === 3);
});

t.test('a client that comes before the guest, or before its server, waits for it', async (t) => {
  const world = await World.create(t, { tellMs: 20 });
  world.listening = false;
  const early = await world.client(t);
  early.socket.write('early');
  await sleep(50);
  t.same(world.waits, [], 'there is no guest yet');
  world.start();
  const second = await world.client(t);
  await world.until(() => world.requests >= 3 && world.waits.length > 0);
  t.match(world.waits, [world.wayIn.ports[0]], 'told once');
  world.listening = true;
  await world.until(() => world.accepted.size === 2);
  await world.until(() => textOf(world.socket(0)) === 'early');
  second.socket.write('second');
  await world.until(() => textOf(world.socket(1)) === 'second');
  world.listening = false;
  const late = await world.client(t);
  await world.until(() => late.closed);
  t.equal(late.error, 'ECONNRESET', 'it has listened, and does not any more');
  t.match(world.wayIn.stats, [{ connections: 2, failed: 1 }]);
});

t.test('a guest that has never listened is asked once, and answers when it does', async (t) => {
  const world = (await World.create(t)).start();
  const client = await world.client(t);
  await sleep(60);
  world.run();
  t.equal(world.requests, 1);
  await world.until(() => world.accepted.size === 1);
  client.socket.end();
});

t.test('who waits too long is reset, and nobody is asked any more', async (t) => {
  const world = await World.create(t, { waitMs: 40 });
  world.listening = false;
  world.start();
  const client = await world.client(t);
  await world.until(() => client.closed);
  t.equal(client.error, 'ECONNRESET');
  const { requests } = world;
  await world.settle(50);
  t.equal(world.requests, requests);
  t.same(world.device.streams, []);
});

t.test('resets go through in both directions', async (t) => {
  const world = (await World.create(t)).start();
  const byGuest = await world.client(t);
  await world.until(() => world.accepted.size === 1);
  world.socket().packet(op.RST);
  await world.until(() => byGuest.closed);
  t.equal(byGuest.error, 'ECONNRESET');
  const byClient = await world.client(t);
  await world.until(() => world.accepted.size === 2);
  await world.settle();
  byClient.socket.resetAndDestroy();
  await world.until(() => world.socket(1).reset);
});

t.test('a client that does not read holds the guest up, not the memory', async (t) => {
  const world = (await World.create(t)).start();
  const client = await world.client(t);
  client.socket.pause();
  await world.until(() => world.accepted.size === 1 && world.socket().credit > 0);
  const chunk = Buffer.alloc(3000, 'x');
  let sent = 0;
  for (let quiet = 0; quiet < 50; ) {
    const n = world.socket().write(chunk);
    sent += n;
    world.run();
    quiet = n > 0 ? 0 : quiet + 1;
    await sleep(0);
    if (sent > 64 << 20) break;
  }
  t.ok(sent < 32 << 20, `${sent} bytes are with the host and its kernel`);
  t.equal(world.socket().credit, 0);
  client.socket.resume();
  world.socket().packet(op.SHUTDOWN, { flags: 3 });
  await world.until(() => client.ended);
  t.equal(client.bytes, sent);
});

t.test('a guest that does not read holds its client up, not the memory', async (t) => {
  const world = (await World.create(t)).start();
  const client = await world.client(t);
  await world.until(() => world.accepted.size === 1);
  const chunk = Buffer.alloc(1 << 20, 'y');
  for (let i = 0; i < 32; i++) client.socket.write(chunk);
  client.socket.end();
  await world.settle(300, false);
  const [stream] = world.device.streams;
  t.ok(stream!.bufferedBytes < 1 << 20, `${stream!.bufferedBytes} bytes wait`);
  t.ok(client.socket.writableLength > 8 << 20, 'most are with the client');
  await world.until(() => (world.socket().hostShutdown & 2) !== 0);
  t.equal(
    world.socket().received.reduce((sum, { length }) => sum + length, 0),
    32 << 20,
  );
});

t.test('the end of the guest: what it sent arrives, nobody else is let in', async (t) => {
  const world = (await World.create(t)).start();
  const [slow, idle] = [await world.client(t), await world.client(t)];
  slow.socket.pause();
  await world.until(() => world.accepted.size === 2 && world.socket().credit > 0);
  const chunk = Buffer.alloc(3000, 'z');
  let sent = 0;
  for (let quiet = 0; quiet < 50; await sleep(0)) {
    const n = world.socket().write(chunk);
    sent += n;
    world.run();
    quiet = n > 0 ? 0 : quiet + 1;
  }
  world.listening = false;
  const { port } = world.wayIn.ports[0]!;
  world.wayIn.close();
  slow.socket.resume();
  await world.until(() => slow.ended && idle.ended);
  t.equal(slow.bytes, sent, 'with what was held back');
  t.equal(idle.error, undefined);
  t.same(world.device.streams, []);
  const refused = connect(port, '127.0.0.1');
  const [error] = await once(refused, 'error');
  t.equal(error.code, 'ECONNREFUSED');
});

t.test('who waits when the guest ends is reset', async (t) => {
  const world = await World.create(t);
  world.listening = false;
  world.start();
  const client = await world.client(t);
  await world.settle();
  world.wayIn.close();
  await world.until(() => client.closed);
  t.equal(client.error, 'ECONNRESET');
  t.same(world.device.streams, []);
});

t.test('many at once, up to a limit for all ports together', async (t) => {
  const world = await World.create(t, { clientsMax: 40 }, [LOCAL, LOCAL]);
  world.start();
  const clients = await Promise.all(Array.from({ length: 40 }, (_, i) => world.client(t, i % 2)));
  for (const [i, client] of clients.entries()) client.socket.end(`${i};`);
  const all = () => [...world.accepted.values()].map(textOf).sort().join('');
  const expected = clients
    .map((_, i) => `${i};`)
    .sort()
    .join('');
  await world.until(() => all() === expected);
  const beyond = new Client(connect(world.wayIn.ports[1]!.port, '127.0.0.1'));
  await world.until(() => beyond.closed);
  t.equal(beyond.error, 'ECONNRESET');
  for (const socket of world.accepted.values()) {
    socket.packet(op.SHUTDOWN, { flags: 3 });
    world.run();
  }
  await world.until(() => clients.every(({ closed }) => closed));
  await sleep(5);
  const next = await world.client(t, 0);
  await world.until(() => world.accepted.size === 41);
  next.socket.destroy();
  t.equal(
    world.wayIn.stats.reduce((sum, { failed }) => sum + failed, 0),
    1,
  );
});

t.test('a port that cannot be had is one clear line', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const { port } = taken.address() as { port: number };
  await t.rejects(WayIn.listen([LOCAL, { ...LOCAL, port }]), {
    code: 'MAYFLY_LISTEN',
    message: `cannot listen on 127.0.0.1:${port}: another program listens there`,
  });
  await t.rejects(WayIn.listen([{ ...LOCAL, address: '192.0.2.1', port: 4000 }]), {
    code: 'MAYFLY_LISTEN',
    message: 'cannot listen on 192.0.2.1:4000: this host has no such address',
  });
});

t.test('a reset is one at once, whatever waits for the peer', async (t) => {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  for (const bytes of [0, 1, 50 << 20]) {
    for (const end of [false, true]) {
      const { port } = server.address() as { port: number };
      const client = new Client(connect({ port, host: '127.0.0.1', allowHalfOpen: true }));
      const [socket] = (await once(server, 'connection')) as [Socket];
      socket.on('error', (error) => t.fail(error));
      if (bytes > 100) client.socket.pause();
      socket.write(Buffer.alloc(bytes));
      if (end) socket.end();
      const closed = once(socket, 'close');
      resetSocket(socket);
      await closed;
      client.socket.resume();
      for (let i = 0; i < 1000 && !client.closed && !client.ended; i++) await sleep(1);
      if (bytes > 100) t.equal(client.error, 'ECONNRESET', 'what is cut is no end');
      client.socket.destroy();
    }
  }
});

/** What a hostile guest and a hostile client may do, a number for whom. */
const step = fc.oneof(
  fc.record({ kind: fc.constant('connect' as const) }),
  fc.record({
    kind: fc.constantFrom('write' as const, 'end' as const, 'reset' as const, 'pause' as const),
    who: fc.nat(7),
    size: fc.nat(70_000),
  }),
  fc.record({
    kind: fc.constant('packet' as const),
    who: fc.nat(7),
    op: fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 9),
    flags: fc.nat(3),
    size: fc.nat(3000),
    bufAlloc: fc.constantFrom(0, 1, 100, 65536, 0xffff_ffff),
    fwdCnt: fc.constantFrom(0, 5, 0xffff_ffff),
  }),
  fc.record({ kind: fc.constantFrom('listen' as const, 'deaf' as const, 'turn' as const) }),
);

t.test('whatever guest and clients do, everything ends', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const world = await World.create(t, { clientsMax: 6, waitMs: 20 });
      world.start();
      const clients: Client[] = [];
      for (const s of steps) {
        if (s.kind === 'connect') clients.push(await world.client(t));
        else if (s.kind === 'listen' || s.kind === 'deaf') world.listening = s.kind === 'listen';
        else if (s.kind === 'packet') {
          const ports = world.device.streams.map(({ hostPort }) => hostPort);
          world.guest.send({
            op: s.op,
            hostPort: ports[s.who % Math.max(ports.length, 1)] ?? 77,
            guestPort: PORT,
            flags: s.flags,
            bufAlloc: s.bufAlloc,
            fwdCnt: s.fwdCnt,
            payload: s.op === op.RW ? Buffer.alloc(s.size) : Buffer.alloc(0),
          });
        } else if ('who' in s) {
          const socket = clients[s.who % Math.max(clients.length, 1)]?.socket;
          if (socket === undefined) continue;
          if (s.kind === 'write' && socket.writable) socket.write(Buffer.alloc(s.size));
          if (s.kind === 'end') socket.end();
          if (s.kind === 'reset') resetSocket(socket);
          if (s.kind === 'pause') socket.pause();
        }
        // Not run(): its sockets check what a host owes to a guest that keeps to the rules.
        world.device.processQueues();
        for (const { op: asked, hostPort, guestPort } of world.guest.receive()) {
          if (asked !== op.REQUEST) continue;
          world.guest.send({ op: world.listening ? op.RESPONSE : op.RST, hostPort, guestPort });
        }
        world.guest.post(32);
        if (s.kind === 'turn') await sleep(1);
      }
      world.wayIn.close();
      for (const { socket } of clients) socket.resume();
      for (let i = 0; i < 1000 && !clients.every(({ closed, ended }) => closed || ended); i++) {
        await sleep(1);
      }
      if (!clients.every(({ closed, ended }) => closed || ended)) throw new Error('one goes on');
      if (world.device.streams.length > 0) throw new Error('a stream is left');
      for (const { socket } of clients) socket.destroy();
    }),
    { numRuns: 60 },
  );
});
