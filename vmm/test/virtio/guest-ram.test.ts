import fc from 'fast-check';
import t from 'tap';
import { GuestFault, GuestRam, gpa } from '../../src/memory/index.js';

const bad = { name: 'GuestFault', code: 'MAYFLY_GUEST_BAD_ADDRESS' };

t.test('a view is the memory itself, and only memory', async (t) => {
  const ram = new GuestRam(new ArrayBuffer(64));
  ram.view(gpa(8), 4).set([1, 2, 3, 4]);
  t.equal(ram.u32(gpa(8)), 0x04030201);
  t.equal(ram.view(gpa(64), 0).length, 0);
  for (const [at, length] of [
    [61, 4],
    [65, 0],
    [-1, 1],
    [0, -1],
    [Number.NaN, 1],
    [0, Number.NaN],
    [2 ** 64, 2 ** 32],
  ] as const) {
    t.throws(() => ram.view(gpa(at), length), bad, `${length} bytes at ${at}`);
  }
});

t.test('numbers are little-endian and u64 stops at 2^53', async (t) => {
  const ram = new GuestRam(new ArrayBuffer(64));
  ram.setU64(gpa(0), 2 ** 53 - 1);
  t.equal(ram.u64(gpa(0)), 2 ** 53 - 1);
  t.same([...ram.view(gpa(0), 8)], [255, 255, 255, 255, 255, 255, 31, 0]);
  ram.setU8(gpa(6), 32);
  t.throws(() => ram.u64(gpa(0)), { name: 'GuestFault', code: 'MAYFLY_GUEST_BAD_VALUE' });
  ram.setU16(gpa(10), 0x1234);
  t.same([ram.u8(gpa(10)), ram.u16(gpa(10))], [0x34, 0x1234]);
});

t.test('another buffer of the same size can be attached', async (t) => {
  const ram = new GuestRam(new ArrayBuffer(16));
  const other = new ArrayBuffer(16);
  new Uint8Array(other)[3] = 7;
  ram.attach(other);
  t.equal(ram.u8(gpa(3)), 7);
  t.throws(() => ram.attach(new ArrayBuffer(8)), { code: 'MAYFLY_RAM_SIZE_CHANGED' });
});

t.test('property: every access is inside RAM or a GuestFault', async () => {
  const ram = new GuestRam(new ArrayBuffer(4096));
  const number = fc.oneof(fc.integer({ min: -8, max: 4104 }), fc.double(), fc.maxSafeInteger());
  fc.assert(
    fc.property(number, fc.integer({ min: -2, max: 5000 }), (at, length) => {
      const address = gpa(Math.trunc(at));
      const accesses = [
        () => ram.view(address, length),
        () => ram.u8(address),
        () => ram.u16(address),
        () => ram.u32(address),
        () => ram.setU64(address, 1),
        () => ram.write(address, new Uint8Array(Math.max(0, length))),
      ];
      for (const access of accesses) {
        try {
          access();
        } catch (error) {
          if (!(error instanceof GuestFault)) throw error;
        }
      }
    }),
    { interruptAfterTimeLimit: 1000, numRuns: 20_000 },
  );
});
