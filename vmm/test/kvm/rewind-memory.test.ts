/** The part of a rewind that wants no KVM: a rewinder of memory alone. */
import fc from 'fast-check';
import type * as Tap from 'tap';
import t from 'tap';
import { GuestMemory, Rewinder, type RewinderOptions } from '../../src/kvm/index.js';

const PAGE = 4096;
const PAGES = 600;
const SIZE = PAGES * PAGE;

function setUp(test: Tap.Test, options: Partial<RewinderOptions> = {}) {
  const file = GuestMemory.memfd(SIZE);
  const template = new Uint8Array(file.buffer);
  for (let page = 0; page < PAGES; page++) template.fill(page, page * PAGE, (page + 1) * PAGE);
  const memory = GuestMemory.privateFile(file.fd, SIZE);
  const readonly = GuestMemory.readonlyFile(file.fd, SIZE);
  const rewinder = Rewinder.create({ memory, template: readonly, ...options });
  test.teardown(() => {
    rewinder.close();
    for (const one of [memory, readonly, file]) one.close();
  });
  return { rewinder, template, bytes: new Uint8Array(memory.buffer) };
}

t.test('whatever was written is put back, and counted', async (t) => {
  const { rewinder, template, bytes } = setUp(t);
  const written = new Set<number>();
  const write = fc.record({ at: fc.nat(SIZE - 1), length: fc.nat(9000), byte: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(write, { maxLength: 20 }), (writes) => {
      for (const { at, length, byte } of writes) {
        const end = Math.min(at + length + 1, SIZE);
        bytes.fill(byte, at, end);
        for (let page = Math.floor(at / PAGE); page * PAGE < end; page++) written.add(page);
      }
      t.equal(rewinder.rewind(), written.size, 'a page once written is copied each time');
      t.ok(Buffer.compare(bytes, template) === 0);
    }),
    { numRuns: 100 },
  );
  t.same(
    [...rewinder.dirtyPages()],
    [...written].sort((a, b) => a - b),
  );
});

t.test('excluded ranges stay, to the byte', async (t) => {
  const exclude = [
    [5 * PAGE + 100, 50],
    [7 * PAGE, 2 * PAGE],
  ] as const;
  const { rewinder, template, bytes } = setUp(t, { exclude });
  bytes.fill(99, 4 * PAGE, 10 * PAGE);
  rewinder.rewind();
  const expected = Buffer.from(template);
  for (const [offset, length] of exclude) expected.fill(99, offset, offset + length);
  t.ok(expected.equals(bytes));
});

t.test('a guarded range that was written is remembered', async (t) => {
  const { rewinder, bytes } = setUp(t, { guard: [[8 * PAGE, PAGE]] });
  bytes[7 * PAGE] = 1;
  bytes[9 * PAGE] = 1;
  t.equal(rewinder.rewind(), 2);
  bytes[8 * PAGE + 4095] = bytes[8 * PAGE + 4095]!;
  t.equal(rewinder.rewind(), -1, 'with the byte that was there');
  t.equal(rewinder.rewind(), -1, 'for good');
});

t.test('more pages than may be', async (t) => {
  const { rewinder, bytes } = setUp(t, { pagesMax: 3 });
  for (const page of [1, 3, 5]) bytes[page * PAGE] = 200;
  t.equal(rewinder.rewind(), 3);
  bytes[7 * PAGE] = 200;
  t.equal(rewinder.rewind(), -1);
});

t.test('there is nothing to run', async (t) => {
  const { rewinder } = setUp(t);
  t.throws(() => rewinder.rewindAndRun(), { code: 'MAYFLY_KVM_ARGUMENT', message: /no vCPU/ });
});
