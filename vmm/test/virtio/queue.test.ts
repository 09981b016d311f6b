import fc from 'fast-check';
import t from 'tap';
import { gpa } from '../../src/memory/index.js';
import { virtio } from '../../src/virtio/index.js';
import { GuestDriver, newRam, type Piece } from './driver.js';
import { EchoDevice } from './echo-device.js';

const { descriptorFlag, feature } = virtio;
const { NEXT, WRITE, INDIRECT } = descriptorFlag;

function setUp(features?: number[], queueSize = 8) {
  const ram = newRam();
  const device = new EchoDevice(ram);
  const driver = new GuestDriver(device, { queueSize, ...(features && { features }) });
  const queue = driver.queues[0]!;
  /** Writes descriptors [address, length, flags, next] from index 0 of a table. */
  const describe = (rows: readonly (readonly number[])[], table: number = queue.descriptors) => {
    rows.forEach(([address, length, flags, next], i) => {
      ram.setU64(gpa(table + 16 * i), address!);
      ram.setU32(gpa(table + 16 * i + 8), length!);
      ram.setU16(gpa(table + 16 * i + 12), flags!);
      ram.setU16(gpa(table + 16 * i + 14), next ?? 0);
    });
  };
  return { ram, device, driver, queue, describe };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

t.test('chains come back in order with what was written', async (t) => {
  const { device, queue } = setUp();
  t.equal(device.processQueues(), false, 'nothing to do');
  const first = queue.post([bytes('hello '), bytes('world'), 4, 100]);
  const second = queue.post([bytes('indirect'), 100], true);
  t.equal(device.processQueues(), true);
  t.equal(device.processQueues(), false, 'told once');
  const done = queue.collect();
  t.same(
    done.map(({ token, data }) => [token, Buffer.from(data).toString()]),
    [
      [first, 'hello world'],
      [second, 'indirect'],
    ],
  );
});

t.test('a buffer that comes back empty is not input', async (t) => {
  const { device, queue, driver } = setUp();
  queue.post([bytes('to nobody')]);
  t.equal(device.processQueues(), false);
  t.equal(queue.collect().length, 1);
  t.equal(driver.get(virtio.register.INTERRUPT_STATUS), 1, 'but the register says so');
});

t.test('a kick is served and none is ever asked for', async (t) => {
  const { device, queue, driver } = setUp();
  for (let i = 0; i < 70_000; i++) {
    queue.post([bytes('x'), 1]);
    if (i === 0) driver.set(virtio.register.QUEUE_NOTIFY, 0);
    else if (i % 3 === 0) device.processQueues();
    if (i % 3 === 0) queue.collect();
  }
  t.equal(queue.kicksWanted, 0);
  t.throws(() => driver.set(virtio.register.QUEUE_NOTIFY, 1), { code: 'MAYFLY_VIRTIO_BAD_INDEX' });
});

t.test('without EVENT_IDX the flag in the used ring says the same', async (t) => {
  const { ram, queue, device } = setUp([]);
  t.equal(ram.u16(queue.deviceArea), 1);
  queue.post([bytes('x'), 1]);
  t.equal(device.processQueues(), true);
});

t.test('everything malformed has its code', async (t) => {
  const cases: [
    string,
    string,
    readonly (readonly number[])[],
    (readonly (readonly number[])[])?,
  ][] = [
    ['index out of the table', 'BAD_INDEX', [[0x1000, 1, NEXT, 8]]],
    [
      'loop',
      'CHAIN_TOO_LONG',
      [
        [0x1000, 1, NEXT, 1],
        [0x1000, 1, NEXT, 0],
      ],
    ],
    ['loop to itself', 'CHAIN_TOO_LONG', [[0x1000, 1, NEXT, 0]]],
    [
      'readable after writable',
      'READABLE_AFTER_WRITABLE',
      [
        [0x1000, 1, NEXT | WRITE, 1],
        [0x1000, 1, 0],
      ],
    ],
    ['no bytes', 'ZERO_LENGTH', [[0x1000, 0, 0]]],
    ['indirect of no entries', 'INDIRECT_LENGTH', [[0x1000, 0, INDIRECT]]],
    ['indirect of half an entry', 'INDIRECT_LENGTH', [[0x1000, 24, INDIRECT]]],
    ['indirect with a next', 'INDIRECT_NEXT', [[0x1000, 16, INDIRECT | NEXT, 1]]],
    [
      'indirect inside indirect',
      'INDIRECT_NESTED',
      [[0x1000, 16, INDIRECT]],
      [[0x1000, 16, INDIRECT]],
    ],
    [
      'next out of the indirect table',
      'BAD_INDEX',
      [[0x1000, 16, INDIRECT]],
      [[0x2000, 1, NEXT, 1]],
    ],
    [
      'loop in the indirect table',
      'CHAIN_TOO_LONG',
      [[0x1000, 16, INDIRECT]],
      [[0x2000, 1, NEXT, 0]],
    ],
  ];
  for (const [name, code, table, indirect] of cases) {
    const { device, queue, describe } = setUp();
    describe(table);
    if (indirect) describe(indirect, 0x1000);
    queue.publish(0);
    t.throws(
      () => device.processQueues(),
      { name: 'GuestFault', code: `MAYFLY_VIRTIO_${code}` },
      name,
    );
  }
});

t.test('the ring itself as indirect table is nested, not endless', async (t) => {
  const { device, queue, describe } = setUp();
  describe([[queue.descriptors, 16 * queue.size, INDIRECT]]);
  queue.publish(0);
  t.throws(() => device.processQueues(), { code: 'MAYFLY_VIRTIO_INDIRECT_NESTED' });
});

t.test('indirect needs its feature', async (t) => {
  const { device, queue } = setUp([feature.RING_EVENT_IDX]);
  queue.post([bytes('x'), 1], true);
  t.throws(() => device.processQueues(), { code: 'MAYFLY_VIRTIO_INDIRECT_NOT_NEGOTIATED' });
});

t.test('addresses outside RAM and heads outside the table', async (t) => {
  for (const [address, length] of [
    [2 ** 20 - 1, 2],
    [2 ** 52, 1],
    [0, 0xffffffff],
  ] as const) {
    const { device, queue, describe } = setUp();
    describe([[address, length, WRITE]]);
    queue.publish(0);
    t.throws(() => device.processQueues(), {
      name: 'GuestFault',
      code: 'MAYFLY_GUEST_BAD_ADDRESS',
    });
  }
  const { device, queue } = setUp();
  queue.publish(8);
  t.throws(() => device.processQueues(), { code: 'MAYFLY_VIRTIO_BAD_INDEX' });
});

t.test('an index that runs ahead of the ring', async (t) => {
  const { device, queue, ram } = setUp();
  ram.setU16(gpa(queue.driverArea + 2), 9);
  t.throws(() => device.processQueues(), {
    name: 'GuestFault',
    code: 'MAYFLY_VIRTIO_AVAIL_OVERRUN',
  });
});

t.test('a full-length chain is allowed, one more is not', async (t) => {
  const { device, queue, describe } = setUp();
  const rows = (n: number) =>
    Array.from({ length: n }, (_, i) => [0x2000, 1, i < n - 1 ? NEXT : 0, i + 1]);
  describe([[0x1000, 16 * 8, INDIRECT]]);
  describe(rows(8), 0x1000);
  queue.publish(0);
  device.processQueues();
  describe([[0x1000, 16 * 9, INDIRECT]]);
  describe(rows(9), 0x1000);
  queue.publish(0);
  t.throws(() => device.processQueues(), { code: 'MAYFLY_VIRTIO_CHAIN_TOO_LONG' });
});

t.test('rings that lie on each other keep the device busy for one round only', async (t) => {
  const ram = newRam();
  const device = new EchoDevice(ram);
  const [queue] = device.queues;
  new GuestDriver(device, { queueSize: 8 });
  queue!.deactivate();
  queue!.descriptors = gpa(0x1000);
  // The used index is the available index: each chain that is returned makes another one available.
  queue!.driver = queue!.device = gpa(0x2000);
  ram.setU16(gpa(0x2002), 0);
  ram.setU64(gpa(0x1000), 0x3000);
  ram.setU32(gpa(0x1008), 4);
  queue!.activate();
  ram.setU16(gpa(0x2002), 5);
  device.processQueues();
  t.equal(queue!.save().lastAvail, 5, 'one look at the index for what is transmitted');
  let rounds = 0;
  for (; rounds < 100; rounds++) {
    ram.setU16(gpa(0x2002), 6 + rounds); // as a buffer that covers the index could
    const chain = queue!.popFresh();
    if (chain === undefined) break;
    queue!.addUsed(chain.head, 1);
  }
  t.equal(rounds, 3, 'and as many receive buffers as the ring can hold');
});

t.test('save and restore put a queue back in the middle of its work', async (t) => {
  const { ram, device, queue, driver } = setUp();
  for (let i = 0; i < 5; i++) queue.post([bytes('warm'), 8]);
  device.processQueues();
  queue.collect();
  queue.post([bytes('before'), 8]);
  const memory = ram.view(gpa(0), ram.size).slice();
  const state = structuredClone(device.save());
  const rewindDriver = driver.save();
  for (let round = 0; round < 3; round++) {
    queue.post([bytes(`round ${round}`), 8]);
    device.processQueues();
    const texts = queue.collect().map(({ data }) => Buffer.from(data).toString());
    t.same(texts, ['before', `round ${round}`]);
    ram.write(gpa(0), memory);
    device.restore(state);
    rewindDriver();
  }
  t.throws(() => device.restore({ ...state, device: 'console' }), {
    code: 'MAYFLY_DEVICE_STATE_MISMATCH',
  });
});

t.test(
  'property: a well-behaved driver gets each chain back once, in order, with its bytes',
  async () => {
    const chain = fc.record({
      out: fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 3 }),
      in: fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 3 }),
      indirect: fc.boolean(),
    });
    const step = fc.oneof(
      { weight: 4, arbitrary: chain },
      { weight: 1, arbitrary: fc.constant('process' as const) },
      { weight: 1, arbitrary: fc.constant('collect' as const) },
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 80 }),
        fc.constantFrom(4, 8, 32),
        (steps, queueSize) => {
          const { device, queue } = setUp(undefined, queueSize);
          const expected: { token: number; data: Uint8Array }[] = [];
          let processed = 0;
          const check = () => {
            for (const { token, data } of queue.collect()) {
              const next = expected.shift();
              if (processed-- === 0 || next?.token !== token) throw new Error('wrong order');
              if (Buffer.compare(next.data, data) !== 0) throw new Error('wrong bytes');
            }
          };
          for (const step of steps) {
            if (step === 'process') {
              device.processQueues();
              processed = expected.length;
            } else if (step === 'collect') check();
            else {
              const pieces: Piece[] = [...step.out, ...step.in];
              const indirect = step.indirect && pieces.length <= 4;
              const token = pieces.length > 0 ? queue.post(pieces, indirect) : undefined;
              const room = step.in.reduce((sum, n) => sum + n, 0);
              if (token !== undefined)
                expected.push({ token, data: Buffer.concat(step.out).subarray(0, room) });
            }
          }
          device.processQueues();
          processed = expected.length;
          check();
          if (expected.length > 0) throw new Error('chains are missing');
          if (queue.kicksWanted > 0) throw new Error('a kick was asked for');
        },
      ),
      { interruptAfterTimeLimit: 3000, numRuns: 5000 },
    );
  },
);
