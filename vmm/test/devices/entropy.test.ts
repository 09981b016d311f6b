import t from 'tap';
import { EntropyDevice } from '../../src/devices/index.js';
import { GuestDriver, newRam } from '../virtio/driver.js';

function setUp() {
  const device = new EntropyDevice(newRam());
  const driver = new GuestDriver(device, { queueSize: 16 });
  return { device, queue: driver.queues[0]! };
}

t.test('fills every piece with other bytes each time', async (t) => {
  const { device, queue } = setUp();
  queue.post([16, 5, 43]);
  queue.post([64]);
  t.equal(device.processQueues(), true);
  const [first, second] = queue.collect();
  t.equal(first!.written, 64);
  t.equal(second!.written, 64);
  t.ok(Buffer.compare(first!.data, second!.data) !== 0);
  t.ok(
    Buffer.from(first!.data)
      .subarray(40)
      .some((byte) => byte !== 0),
  );
});

t.test('one chain draws 4096 bytes at most', async (t) => {
  const { device, queue } = setUp();
  queue.post([3000, 3000]);
  device.processQueues();
  t.equal(queue.collect()[0]!.written, 4096);
});

t.test('a readable buffer ends the guest', async (t) => {
  const { device, queue } = setUp();
  queue.post([Buffer.from('x'), 4]);
  t.throws(() => device.processQueues(), { name: 'GuestFault', code: 'MAYFLY_VIRTIO_BAD_REQUEST' });
});

t.test('state is plain and goes back', async (t) => {
  const { device, queue } = setUp();
  const state = structuredClone(device.save());
  queue.post([8]);
  device.processQueues();
  device.restore(state);
  t.same(device.save(), state);
});
