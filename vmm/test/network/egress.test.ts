/** The way out as a guest sees it: packets of vsock on one side, servers on the loopback interface on the other. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { abi } from '@mayfly/protocol';
import { decode, encode } from 'dns-packet';
import fc from 'fast-check';
import t from 'tap';
import { VsockDevice } from '../../src/devices/index.js';
import {
  type Denial,
  denialText,
  Egress,
  type EgressOptions,
  WayOut,
} from '../../src/network/index.js';
import { GUEST_CID, GuestSocket, op, VsockGuest } from '../devices/vsock-guest.js';
import { newRam } from '../virtio/driver.js';

const { NET_PORT, NET_STREAM, NET_DATAGRAM } = abi.network;
const HOST = '169.254.77.1';
const DNS = '169.254.77.53';

function request6(last: number[], port: number): Buffer {
  const bytes = request('0.0.0.0', port).fill(0, 8);
  bytes.set([0xfd, 0, ...last], 8);
  return bytes;
}

function request(address: string, port: number, kind: number = NET_STREAM): Buffer {
  const bytes = Buffer.alloc(24);
  bytes[0] = 1;
  bytes[1] = kind;
  bytes.writeUInt16BE(port, 2);
  bytes.fill(0xff, 18, 20);
  bytes.set(address.split('.').map(Number), 20);
  return bytes;
}

/** A guest whose program reads whatever comes. */
class World {
  readonly device = new VsockDevice(newRam(), { guestCid: GUEST_CID });
  readonly guest = new VsockGuest(this.device, { bufferSize: 1024 });
  readonly denied: Denial[] = [];
  readonly egress: Egress;
  readonly #sockets = new Map<number, GuestSocket>();
  #port = 5000;

  constructor(options: Partial<EgressOptions> = {}, listen = true) {
    this.egress = new Egress({
      allow: [],
      denied: (denial) => this.denied.push(denial),
      ...options,
    });
    if (listen) this.device.listen(NET_PORT, (stream) => this.egress.accept(stream));
    this.guest.post(32);
  }

  open(bufAlloc = 65536): GuestSocket {
    const socket = new GuestSocket(this.guest, NET_PORT, this.#port++, bufAlloc);
    this.#sockets.set(socket.guestPort, socket);
    socket.packet(op.REQUEST);
    this.run();
    return socket;
  }

  connect(address: string, port: number, more: Uint8Array = new Uint8Array(0)): GuestSocket {
    const socket = this.open();
    socket.write(Buffer.concat([request(address, port), more]));
    this.run();
    return socket;
  }

  /** Lets both sides do what they can; `read`: the program in the guest reads all that is there. */
  run(read = true): void {
    for (let round = 0; round < 4; round++) {
      this.device.processQueues();
      for (const packet of this.guest.receive()) {
        this.#sockets.get(packet.guestPort)?.handle(packet);
      }
      for (const socket of read ? this.#sockets.values() : []) {
        if (!socket.reset) socket.read(socket.waiting);
      }
      this.guest.post(32);
    }
  }

  async until(what: () => boolean, read = true): Promise<void> {
    for (let i = 0; i < 2000 && !what(); i++) {
      this.run(read);
      await sleep(1);
    }
    if (!what()) throw new Error('it did not happen');
  }

  /** The host's answer to a request: an error's number, 0 when connected. */
  async answer(socket: GuestSocket): Promise<number> {
    await this.until(() => bytesOf(socket).length >= 8);
    const bytes = bytesOf(socket);
    if (bytes[0] !== 1) throw new Error('an unknown version');
    return bytes.readUInt16LE(2);
  }
}

const bytesOf = (socket: GuestSocket): Buffer => Buffer.concat(socket.received);
const textOf = (socket: GuestSocket): string => bytesOf(socket).subarray(8).toString();

async function serve(t: Tap, serve: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, serve);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
type Tap = { teardown(f: () => void): void };

t.test('a connection carries bytes both ways, half-closes and is counted', async (t) => {
  const port = await serve(t, (socket) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('end', () => socket.end(`got ${text}`));
  });
  const world = new World({ allow: [`host.mayfly:${port}`] });
  const socket = world.connect(HOST, port, Buffer.from('early '));
  t.equal(await world.answer(socket), 0);
  socket.write(Buffer.from('late'));
  socket.packet(op.SHUTDOWN, { flags: 2 });
  await world.until(() => socket.reset || socket.hostShutdown !== 0);
  t.equal(textOf(socket), 'got early late');
  t.match(world.egress.stats, { connections: 1, bytesSent: 10, bytesReceived: 14, denied: 0 });
});

t.test('what is not allowed is EACCES, told once with what would help', async (t) => {
  const world = new World({ allow: ['*'] });
  for (const [address, port] of [
    [HOST, 5432],
    [HOST, 5432],
    ['127.0.0.1', 22],
    ['10.0.0.1', 80],
    ['169.254.169.254', 80],
    ['0.0.0.0', 80],
  ] as const) {
    t.equal(await world.answer(world.connect(address, port)), 13, `${address}:${port}`);
  }
  t.same(
    world.denied.map(({ target }) => target),
    [`${HOST}:5432`, '127.0.0.1:22', '10.0.0.1:80', '169.254.169.254:80', '0.0.0.0:80'],
  );
  t.match(
    denialText(world.denied[0]!, '--allow-net'),
    /^network: .* is the loopback .* --allow-net host\.mayfly:5432 would allow it$/,
  );
  t.match(world.egress.stats, { denied: 6, connections: 0 });
  const six = world.open();
  six.write(request6([1, 2], 80));
  t.equal(await world.answer(six), 13);
  t.match(world.denied.at(-1), { target: '[fd00:102::]:80', rule: '[fd00:102::]:80' });
});

t.test('errors of the host’s socket reach the guest', async (t) => {
  const port = await serve(t, () => {});
  const closed = createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port: free } = closed.address() as AddressInfo;
  closed.close();
  const world = new World({ allow: ['host.mayfly:1-65535'], openMax: 1 });
  t.equal(await world.answer(world.connect(HOST, free)), 111, 'ECONNREFUSED');
  t.match(world.egress.stats, { failed: 1, connections: 0 });
  t.equal(await world.answer(world.connect(HOST, port)), 0);
  t.equal(await world.answer(world.connect(HOST, port)), 99, 'EADDRNOTAVAIL: too many');
});

t.test('a reset of the far end is a reset', async (t) => {
  const port = await serve(t, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const world = new World({ allow: [`host.mayfly:${port}`] });
  const socket = world.connect(HOST, port);
  t.equal(await world.answer(socket), 0);
  socket.write(Buffer.from('x'));
  await world.until(() => socket.reset);
});

t.test('neither side outruns the other', async (t) => {
  const size = 4 << 20;
  let read = 0;
  const sockets: Socket[] = [];
  const port = await serve(t, (socket) => {
    sockets.push(socket);
    socket.write(Buffer.alloc(size, 'd'));
    socket.pause();
    socket.on('data', (chunk) => {
      read += chunk.length;
    });
  });
  const world = new World({ allow: [`host.mayfly:${port}`] });
  const socket = world.open(8192);
  socket.write(request(HOST, port));
  await world.until(() => world.egress.stats.bytesReceived > 0, false);
  for (let i = 0; i < 20; i++) {
    await sleep(2);
    world.run(false);
  }
  t.ok(world.egress.stats.bytesReceived < 1 << 20, 'of a guest that does not read');
  await world.until(() => world.egress.stats.bytesReceived === size);
  let sent = 0;
  for (let idle = 0; idle < 20; ) {
    const n = socket.write(Buffer.alloc(512, 'u'));
    sent += n;
    world.run();
    idle = n > 0 ? 0 : idle + 1;
    if (n === 0) await sleep(2);
  }
  t.ok(sent < 32 << 20, `of a server that does not read: ${sent}`);
  sockets[0]!.resume();
  await world.until(() => read === sent);
});

t.test('all ends with the invocation; what the guest had closed is delivered', async (t) => {
  const heard: string[] = [];
  const port = await serve(t, (socket) => {
    socket.setEncoding('utf8');
    socket.on('data', (text) => heard.push(String(text)));
    socket.on('close', () => heard.push('close'));
    socket.on('end', () => socket.end());
  });
  const world = new World({ allow: [`host.mayfly:${port}`] });
  const left = world.connect(HOST, port);
  t.equal(await world.answer(left), 0);
  const closed = world.connect(HOST, port);
  t.equal(await world.answer(closed), 0);
  closed.write(Buffer.from('report'));
  closed.packet(op.SHUTDOWN, { flags: 3 });
  world.run();
  t.equal(world.egress.stats.connections, 2);
  world.egress.end();
  t.match(world.egress.stats, { connections: 0, bytesSent: 0, bytesReceived: 0 });
  await world.until(() => heard.filter((text) => text === 'close').length === 2);
  t.ok(heard.includes('report'));
  t.equal(left.reset, true);
});

t.test(
  'a name that is resolved is asked of the resolver, and opens its public addresses',
  async (t) => {
    const asked: string[] = [];
    const world = new World({
      allow: ['*.example.com:443'],
      resolver: {
        resolve: async (name, type) => {
          asked.push(`${name} ${type}`);
          return [{ type: 'A', ttl: 1, data: '10.9.8.7' }];
        },
      },
    });
    const dns = world.open();
    const query = encode({
      type: 'query',
      id: 5,
      questions: [{ name: 'a.example.com', type: 'A', class: 'IN' }],
    });
    const framed = Buffer.concat([Buffer.from([0, query.length]), query]);
    dns.write(Buffer.concat([request(DNS, 53, NET_DATAGRAM), framed, framed.subarray(0, 7)]));
    world.run();
    dns.write(framed.subarray(7));
    await world.until(() => bytesOf(dns).length > 8 + 2 * query.length);
    const bytes = bytesOf(dns).subarray(8);
    const length = bytes.readUInt16BE(0);
    t.match(decode(bytes.subarray(2, 2 + length)).answers, [{ data: '10.9.8.7' }]);
    t.equal(bytes.length, 2 * (2 + length), 'both questions are answered');
    t.same(asked, ['a.example.com A', 'a.example.com A']);
    t.equal(await world.answer(world.connect('10.9.8.7', 443)), 13, 'but not a private one');
    t.match(world.denied, [{ target: '10.9.8.7:443 (a.example.com)', rule: '10.9.8.7:443' }]);
    t.equal(await world.answer(world.connect(DNS, 80)), 111, 'nothing else runs there');
  },
);

t.test(
  'a way out takes up what comes while it is loaded, and resets what was there before',
  async (t) => {
    const port = await serve(t, (socket) => socket.pipe(socket));
    const world = new World({}, false);
    world.device.listen(NET_PORT, () => {});
    const before = world.connect(HOST, port);
    const fresh = new World({}, false);
    const way = new WayOut(fresh.device, { allow: [`host.mayfly:${port}`] });
    t.equal(way.stats, undefined);
    const socket = fresh.connect(HOST, port, Buffer.from('hello'));
    t.equal(await fresh.answer(socket), 0);
    await fresh.until(() => textOf(socket) === 'hello');
    t.match(way.stats, { connections: 1, bytesSent: 5, bytesReceived: 5 });
    way.close();
    await fresh.until(() => socket.reset);
    const restored = new VsockDevice(world.device.ram, { guestCid: GUEST_CID });
    restored.restore(world.device.save());
    t.equal(restored.streams.length, 1);
    new WayOut(restored, { allow: [] });
    t.equal(restored.streams.length, 0);
    t.equal(before.reset, false, 'in the checkpoint it lives on');
  },
);

t.test('any bytes are survived', async (t) => {
  const port = await serve(t, (socket) => socket.on('data', () => {}));
  const address = fc.oneof(
    fc.constantFrom(HOST, DNS, '127.0.0.1', '10.0.0.1'),
    fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((parts) => parts.join('.')),
  );
  const start = fc
    .tuple(address, fc.constantFrom(port, 53, 0), fc.constantFrom(NET_STREAM, NET_DATAGRAM, 9))
    .map((parts) => request(...parts));
  const bytes = fc.uint8Array({ maxLength: 200 }).map((chunk) => Buffer.from(chunk));
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ bytes }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constantFrom(op.SHUTDOWN, op.RST, 0, 99) }) },
    { weight: 1, arbitrary: fc.constant('end' as const) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.option(start, { nil: Buffer.alloc(0) }),
      fc.array(step, { maxLength: 8 }),
      async (head, steps) => {
        const world = new World({ allow: [`host.mayfly:${port}`] });
        const socket = world.open();
        socket.write(head);
        for (const now of steps) {
          if (now === 'end') world.egress.end();
          else if ('bytes' in now) socket.write(now.bytes);
          else socket.packet(now.op, { flags: 3 });
          world.run();
          await new Promise((resolve) => setImmediate(resolve));
        }
        world.run();
        world.egress.end();
        if (world.device.streams.some(({ closed }) => closed)) throw new Error('a stream was kept');
      },
    ),
    { numRuns: 400 },
  );
});
