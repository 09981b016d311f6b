import t from 'tap';
import { ConsoleDevice } from '../../src/devices/index.js';
import { gpa } from '../../src/memory/index.js';
import { GuestDriver, newRam } from '../virtio/driver.js';

const RX0 = 0;
const TX0 = 1;
const CONTROL_RX = 2;
const CONTROL_TX = 3;
const TX1 = 5;
const MULTIPORT = 1;

function setUp(features?: number[]) {
  const ram = newRam();
  const output = { stdout: '', stderr: '' };
  let wanted = 0;
  const device = new ConsoleDevice(ram, {
    stdout: (chunk) => {
      output.stdout += Buffer.from(chunk).toString();
    },
    stderr: (chunk) => {
      output.stderr += Buffer.from(chunk).toString();
    },
    needInput: () => {
      wanted++;
    },
  });
  const driver = new GuestDriver(device, { queueSize: 16, ...(features && { features }) });
  const take = (queue: number) =>
    driver.queues[queue]!.collect().map(({ data }) => Buffer.from(data));
  const control = (id: number, event: number, value: number) => {
    const message = Buffer.alloc(8);
    message.writeUInt32LE(id, 0);
    message.writeUInt16LE(event, 4);
    message.writeUInt16LE(value, 6);
    driver.queues[CONTROL_TX]!.post([message]);
  };
  const controls = () =>
    take(CONTROL_RX).map((m) => [m.readUInt32LE(0), m.readUInt16LE(4), m.readUInt16LE(6)]);
  return { ram, device, driver, output, take, control, controls, wanted: () => wanted };
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

t.test('port 0 is stdout, port 1 is stderr, without any handshake', async (t) => {
  const { device, driver, output } = setUp();
  driver.queues[TX0]!.post([bytes('hello '), bytes('world')]);
  driver.queues[TX1]!.post([bytes('oh no')]);
  t.equal(device.processQueues(), false, 'output alone gives the guest nothing');
  t.same(output, { stdout: 'hello world', stderr: 'oh no' });
  t.equal(driver.queues[TX0]!.collect().length, 1);
});

t.test('input goes into posted buffers, or waits for some', async (t) => {
  const { device, driver, take } = setUp();
  let told = 0;
  device.onInput = () => {
    told++;
  };
  driver.queues[RX0]!.post([3, 4]);
  t.equal(device.pushInput(bytes('0123456789')), true);
  t.equal(told, 1);
  t.same(take(RX0), [bytes('0123456')]);
  driver.queues[RX0]!.post([100]);
  t.equal(device.processQueues(), true);
  t.same(take(RX0), [bytes('789')]);
});

t.test('the handshake', async (t) => {
  const { device, driver, control, controls } = setUp();
  for (let i = 0; i < 8; i++) driver.queues[CONTROL_RX]!.post([64]);
  control(0xffffffff, 0, 1);
  t.equal(device.processQueues(), true);
  t.same(controls(), [
    [0, 1, 1],
    [1, 1, 1],
  ]);
  control(0, 3, 1);
  control(1, 3, 1);
  control(0, 6, 1);
  device.processQueues();
  t.same(controls(), [
    [0, 4, 1],
    [0, 6, 1],
    [1, 6, 1],
  ]);
  device.pushInput(bytes('last'));
  device.endInput();
  t.same(controls(), [], 'not closed before the last byte is out');
  driver.queues[RX0]!.post([64]);
  device.processQueues();
  t.same(controls(), [[0, 6, 0]]);
  t.throws(() => device.pushInput(bytes('x')), { code: 'MAYFLY_CONSOLE_INPUT_ENDED' });
});

t.test('end of input before the handshake is remembered', async (t) => {
  const { device, driver, control, controls } = setUp();
  device.endInput();
  for (let i = 0; i < 8; i++) driver.queues[CONTROL_RX]!.post([8]);
  control(0, 0, 1);
  control(0, 3, 1);
  device.processQueues();
  t.same(controls(), [
    [0, 6, 0], // a driver that shuns the handshake hears of it too
    [0, 1, 1],
    [0, 4, 1],
    [0, 6, 0],
    [1, 1, 1],
  ]);
});

t.test('control messages that have no buffer do not pile up', async (t) => {
  const { device, driver, control, controls } = setUp();
  for (let i = 0; i < 1000; i++) {
    control(0, 0, 1);
    control(1, 3, 1);
    device.processQueues();
    driver.queues[CONTROL_TX]!.collect();
  }
  for (let i = 0; i < 16; i++) driver.queues[CONTROL_RX]!.post([8]);
  device.processQueues();
  t.same(controls(), [
    [0, 1, 1],
    [1, 1, 1],
    [1, 6, 1],
  ]);
});

t.test('malformed requests end the guest', async (t) => {
  const fault = (code: string) => ({ name: 'GuestFault', code });
  const a = setUp();
  a.control(2, 3, 1);
  t.throws(() => a.device.processQueues(), fault('MAYFLY_CONSOLE_BAD_PORT'));
  const b = setUp();
  b.driver.queues[CONTROL_TX]!.post([bytes('short')]);
  t.throws(() => b.device.processQueues(), fault('MAYFLY_VIRTIO_SHORT_BUFFER'));
  const c = setUp();
  c.driver.queues[TX0]!.post([10]);
  t.throws(() => c.device.processQueues(), fault('MAYFLY_VIRTIO_BAD_REQUEST'));
  const d = setUp();
  d.driver.queues[RX0]!.post([bytes('readable')]);
  d.device.pushInput(bytes('x'));
  t.throws(() => d.device.processQueues(), fault('MAYFLY_VIRTIO_BAD_REQUEST'));
});

t.test('without MULTIPORT the control queues are dead', async (t) => {
  const { device, driver, control, controls, output } = setUp([]);
  driver.queues[CONTROL_RX]!.post([8]);
  control(0, 0, 1);
  driver.queues[TX0]!.post([bytes('still here')]);
  device.processQueues();
  t.same(controls(), []);
  t.equal(output.stdout, 'still here');
  t.equal(device.negotiated(MULTIPORT), false);
});

t.test('pushInput asks for a pause and needInput for more', async (t) => {
  const { device, driver, wanted } = setUp();
  t.equal(device.pushInput(new Uint8Array(64 * 1024 + 1)), false);
  let rounds = 0;
  for (; wanted() === 0; rounds++) {
    driver.queues[RX0]!.post([4096]);
    device.processQueues();
    driver.queues[RX0]!.collect();
    if (rounds > 100) break;
  }
  t.equal(rounds, 17);
});

t.test('input before the driver is there waits, also over a driver restart', async (t) => {
  const ram = newRam();
  const device = new ConsoleDevice(ram, { stdout: () => {}, stderr: () => {} });
  device.pushInput(bytes('early'));
  new GuestDriver(device);
  const driver = new GuestDriver(device);
  driver.queues[RX0]!.post([100]);
  device.processQueues();
  t.same(
    driver.queues[RX0]!.collect().map(({ data }) => Buffer.from(data)),
    [bytes('early')],
  );
});

t.test('rewinding drops the input of the invocation', async (t) => {
  const { ram, device, driver, take } = setUp();
  driver.queues[RX0]!.post([3]);
  const memory = ram.view(gpa(0), ram.size).slice();
  const state = structuredClone(device.save());
  const rewindDriver = driver.save();
  for (let round = 0; round < 3; round++) {
    device.pushInput(bytes(`${round}: secret`));
    device.endInput();
    t.same(take(RX0), [bytes(`${round}: `)]);
    ram.write(gpa(0), memory);
    device.restore(state);
    rewindDriver();
  }
  device.processQueues();
  t.same(take(RX0), []);
});

t.test('standard output that is held stays in the guest', async (t) => {
  const { device, driver, output } = setUp();
  device.holdOutput();
  driver.queues[TX0]!.post([bytes('later')]);
  driver.queues[TX1]!.post([bytes('now')]);
  device.processQueues();
  t.same(output, { stdout: '', stderr: 'now' });
  t.equal(driver.queues[TX0]!.collect().length, 0);
  device.releaseOutput();
  device.processQueues();
  t.equal(output.stdout, 'later');
  device.holdOutput();
  device.restore(device.save());
  driver.queues[TX0]!.post([bytes(' again')]);
  device.processQueues();
  t.equal(output.stdout, 'later again', 'a rewind releases it');
});
