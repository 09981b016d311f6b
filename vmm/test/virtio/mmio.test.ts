import fc from 'fast-check';
import t from 'tap';
import { GuestFault, gpa } from '../../src/memory/index.js';
import { MmioBus, MmioTransport, virtio } from '../../src/virtio/index.js';
import { GuestDriver, newRam } from './driver.js';
import { EchoDevice } from './echo-device.js';

const { register, status, feature } = virtio;

function fresh() {
  const device = new EchoDevice(newRam());
  const transport = new MmioTransport(device);
  return {
    device,
    transport,
    get: (offset: number, length = 4) => transport.read(offset, length),
    set: (offset: number, value: number) => transport.write(offset, value, 4),
  };
}

t.test('identifies itself as a version 2 device', async (t) => {
  const { get } = fresh();
  t.equal(get(register.MAGIC_VALUE), 0x74726976);
  t.equal(get(register.VERSION), 2);
  t.equal(get(register.DEVICE_ID), 42);
  t.equal(get(register.QUEUE_NUM_MAX), 32);
  t.equal(get(register.SHM_LEN_LOW), 0xffffffff, 'no shared memory region');
});

t.test('offers VERSION_1, EVENT_IDX and indirect descriptors', async (t) => {
  const { get, set } = fresh();
  t.equal(
    get(register.DEVICE_FEATURES),
    2 ** feature.RING_INDIRECT_DESC + 2 ** feature.RING_EVENT_IDX,
  );
  set(register.DEVICE_FEATURES_SEL, 1);
  t.equal(get(register.DEVICE_FEATURES), 1);
  set(register.DEVICE_FEATURES_SEL, 7);
  t.equal(get(register.DEVICE_FEATURES), 0);
});

function negotiate(low: number, high: number, more = 0): number {
  const { get, set } = fresh();
  set(register.STATUS, 1);
  set(register.STATUS, 3);
  for (const [word, value] of [low, high, more].entries()) {
    set(register.DRIVER_FEATURES_SEL, word);
    set(register.DRIVER_FEATURES, value);
  }
  set(register.STATUS, 11);
  return get(register.STATUS);
}

t.test('FEATURES_OK stays only for what was offered and with VERSION_1', async (t) => {
  t.equal(negotiate(0, 1), 11);
  t.equal(negotiate(0, 0), 3, 'without VERSION_1');
  t.equal(negotiate(1, 1), 3, 'a device bit that is not offered');
  t.equal(negotiate(0, 3), 3, 'a high bit that is not offered');
  t.equal(negotiate(0, 1, 1), 3, 'a bit beyond 63');
});

t.test('status only goes up, in order; 0 resets', async (t) => {
  const bad = { name: 'GuestFault', code: 'MAYFLY_VIRTIO_BAD_STATUS' };
  t.throws(() => fresh().set(register.STATUS, 2), bad, 'DRIVER without ACKNOWLEDGE');
  t.throws(() => fresh().set(register.STATUS, 15), bad, 'all at once');
  t.throws(() => fresh().set(register.STATUS, 0x100), bad, 'a bit that does not exist');
  t.throws(() => fresh().set(register.QUEUE_READY, 1), bad, 'a queue before FEATURES_OK');
  t.throws(() => fresh().set(register.QUEUE_NOTIFY, 0), bad, 'a kick before DRIVER_OK');
  const driver = new GuestDriver(new EchoDevice(newRam()));
  t.throws(() => driver.set(register.STATUS, 3), bad, 'taking bits back');
  t.throws(() => driver.set(register.DRIVER_FEATURES, 1), bad, 'features after FEATURES_OK');
  driver.set(register.STATUS, 15 | status.FAILED);
  t.equal(driver.transport.device.running, false);
  driver.set(register.STATUS, 0);
  t.equal(driver.get(register.STATUS), 0);
  t.equal(driver.get(register.QUEUE_READY), 0);
});

t.test('queues are set up while they are stopped, and checked once', async (t) => {
  const { set, get } = fresh();
  set(register.STATUS, 1);
  set(register.STATUS, 3);
  set(register.DRIVER_FEATURES_SEL, 1);
  set(register.DRIVER_FEATURES, 1);
  set(register.STATUS, 11);
  const ready = () => set(register.QUEUE_READY, 1);
  set(register.QUEUE_DESC_LOW, 0x1000);
  set(register.QUEUE_DRIVER_LOW, 0x2000);
  set(register.QUEUE_DEVICE_LOW, 0x3000);
  for (const size of [0, 3, 64, 0xffffffff]) {
    set(register.QUEUE_NUM, size);
    t.throws(ready, { name: 'GuestFault', code: 'MAYFLY_VIRTIO_BAD_QUEUE_SIZE' }, `size ${size}`);
  }
  set(register.QUEUE_NUM, 16);
  for (const part of [
    register.QUEUE_DESC_LOW,
    register.QUEUE_DRIVER_LOW,
    register.QUEUE_DEVICE_LOW,
  ]) {
    set(part, 0x4001);
    t.throws(ready, { name: 'GuestFault', code: 'MAYFLY_VIRTIO_BAD_RING_ADDRESS' });
    set(part, 0xffff0);
    set(part + 4, 0xffffffff);
    t.throws(ready, { name: 'GuestFault', code: 'MAYFLY_GUEST_BAD_ADDRESS' });
    set(part + 4, 0);
    set(part, 0x1000 + 0x1000 * part);
    set(part, part === register.QUEUE_DESC_LOW ? 0x1000 : 0x8000);
  }
  ready();
  t.equal(get(register.QUEUE_READY), 1);
  t.throws(() => set(register.QUEUE_NUM, 8), { code: 'MAYFLY_VIRTIO_QUEUE_BUSY' });
  t.throws(ready, { code: 'MAYFLY_VIRTIO_QUEUE_BUSY' });
  set(register.QUEUE_READY, 0);
  t.equal(get(register.QUEUE_READY), 0);
  set(register.QUEUE_SEL, 5);
  t.equal(get(register.QUEUE_NUM_MAX), 0, 'a queue that does not exist');
  t.throws(() => set(register.QUEUE_NUM, 8), { code: 'MAYFLY_VIRTIO_BAD_INDEX' });
});

t.test(
  'registers are 32 bits wide, in one direction where the specification says so',
  async (t) => {
    const { transport } = fresh();
    const bad = { name: 'GuestFault', code: 'MAYFLY_VIRTIO_BAD_REGISTER' };
    t.throws(() => transport.read(register.MAGIC_VALUE, 2), bad);
    t.throws(() => transport.read(2, 4), bad);
    t.throws(() => transport.read(register.QUEUE_NUM, 4), bad, 'write-only');
    t.throws(() => transport.write(register.MAGIC_VALUE, 1, 4), bad, 'read-only');
    t.throws(() => transport.write(register.CONFIG, 1, 4), bad);
  },
);

t.test('configuration is read in any width and counts its changes', async (t) => {
  const driver = new GuestDriver(new EchoDevice(newRam()));
  const { transport } = driver;
  const device = transport.device as EchoDevice;
  t.equal(transport.read(register.CONFIG, 1), 1);
  t.equal(transport.read(register.CONFIG + 1, 2), 0x0302);
  t.equal(transport.read(register.CONFIG, 4), 0x04030201);
  t.equal(transport.read(register.CONFIG + 4, 4), 5, 'reads 0 behind the end');
  t.throws(() => transport.read(register.CONFIG, 8), { code: 'MAYFLY_VIRTIO_BAD_REGISTER' });
  t.equal(driver.get(register.CONFIG_GENERATION), 0);
  device.change(9);
  t.equal(driver.get(register.CONFIG_GENERATION), 1);
  t.equal(transport.read(register.CONFIG, 1), 9);
  t.equal(driver.get(register.INTERRUPT_STATUS), 2);
  driver.set(register.INTERRUPT_ACK, 2);
  t.equal(driver.get(register.INTERRUPT_STATUS), 0);
});

t.test('a bus gives each device a page', async (t) => {
  const ram = newRam();
  const base = gpa(0x10_0000_0000);
  const bus = new MmioBus(base, 0x1000);
  t.equal(bus.add(new EchoDevice(ram)), base);
  t.equal(bus.add(new EchoDevice(ram)), base + 0x1000);
  t.equal(bus.read(gpa(base + 0x1000 + register.DEVICE_ID), 4), 42);
  bus.write(gpa(base + 0x1000 + register.STATUS), 1, 4);
  t.equal(bus.read(gpa(base + register.STATUS), 4), 0);
  t.ok(bus.contains(gpa(base + 0x1fff)));
  t.notOk(bus.contains(gpa(base + 0x2000)));
  t.notOk(bus.contains(gpa(base - 1)));
  const missing = { name: 'GuestFault', code: 'MAYFLY_VIRTIO_NO_DEVICE' };
  t.throws(() => bus.read(gpa(base + 0x2000), 4), missing);
  t.throws(() => bus.read(gpa(base - 4), 4), missing);
  const state = structuredClone(bus.save());
  bus.write(gpa(base + register.STATUS), 1, 4);
  bus.restore(state);
  t.equal(bus.read(gpa(base + register.STATUS), 4), 0);
  t.equal(bus.read(gpa(base + 0x1000 + register.STATUS), 4), 1);
  t.throws(() => bus.restore({ ...state, transports: [] }), {
    code: 'MAYFLY_DEVICE_STATE_MISMATCH',
  });
});

t.test('property: any sequence of register accesses completes or is a GuestFault', async () => {
  const offset = fc.oneof(
    fc.constantFrom(...Object.values(register)),
    fc.integer({ min: 0, max: 0x10f }),
  );
  const value = fc.oneof(
    fc.constantFrom(0, 1, 2, 3, 11, 15, 16),
    fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  );
  const access = fc.tuple(offset, value, fc.constantFrom(4, 4, 4, 1, 2, 8), fc.boolean());
  fc.assert(
    fc.property(fc.array(access, { maxLength: 60 }), (accesses) => {
      const { transport, device } = fresh();
      for (const [at, word, length, isWrite] of accesses) {
        try {
          if (isWrite) transport.write(at, word, length);
          else transport.read(at, length);
          device.processQueues();
        } catch (error) {
          if (!(error instanceof GuestFault)) throw error;
        }
      }
    }),
    { interruptAfterTimeLimit: 3000, numRuns: 20_000 },
  );
});
