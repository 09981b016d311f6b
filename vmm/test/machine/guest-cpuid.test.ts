/** What guests are not told of, and what they still are. */
import t from 'tap';
import { guestCpuid } from '../../src/machine/guest-cpuid.js';

const ENTRY_SIZE = 40;
type Entry = [leaf: number, index: number, eax: number, ebx: number, ecx: number, edx: number];

function encode(entries: readonly Entry[]): ArrayBuffer {
  const buffer = new ArrayBuffer(entries.length * ENTRY_SIZE);
  for (const [i, [leaf, index, ...registers]] of entries.entries()) {
    new Uint32Array(buffer, i * ENTRY_SIZE, 7).set([leaf, index, index > 0 ? 1 : 0, ...registers]);
  }
  return buffer;
}

function lookUp(buffer: ArrayBuffer, leaf: number, index = 0): number[] | undefined {
  for (let at = 0; at < buffer.byteLength; at += ENTRY_SIZE) {
    const [a, b, , ...registers] = new Uint32Array(buffer, at, 7);
    if (a === leaf && b === index) return registers;
  }
  return undefined;
}

const ALL = 0xffffffff;
/** A processor that has everything. AVX, MPX twice, AVX-512 in three parts, PKRU, AMX twice. */
const supported = encode([
  [0, 0, 0x20, 1, 2, 3],
  [1, 0, 5, 6, ALL, ALL],
  [7, 0, 2, ALL, ALL, ALL],
  [7, 1, ALL, 0, 0, ALL],
  [0xd, 0, 0x602ff, 0x240, 0x2b00, 0],
  [0xd, 1, 0x1f, 0x240, 0x1900, 0],
  [0xd, 2, 0x100, 0x240, 0, 0],
  [0xd, 3, 0x40, 0x3c0, 0, 0],
  [0xd, 5, 0x40, 0x440, 0, 0],
  [0xd, 6, 0x200, 0x480, 0, 0],
  [0xd, 7, 0x400, 0x680, 0, 0],
  [0xd, 9, 8, 0xa80, 0, 0],
  [0xd, 18, 0x2000, 0xb00, 2, 0],
  [0x1d, 1, 1, 2, 3, 4],
  [0x80000001, 0, 0, 0, ALL, ALL],
  [0x8000000a, 0, 1, 8, 0, 1],
]);

t.test('what would give CPL 0 more registers is not told', async (t) => {
  const told = guestCpuid(supported);
  t.equal(told.byteLength, supported.byteLength);
  const bit = (leaf: number, index: number, register: number, n: number) =>
    (lookUp(told, leaf, index)![register]! >>> n) & 1;
  t.equal(bit(1, 0, 2, 5), 0, 'VMX');
  t.equal(bit(0x80000001, 0, 2, 2), 0, 'SVM');
  t.equal(bit(7, 0, 1, 14), 0, 'MPX');
  t.equal(bit(7, 0, 2, 7), 0, 'shadow stacks');
  t.equal(bit(7, 0, 3, 24), 0, 'AMX');
  t.equal(bit(7, 1, 0, 17), 0, 'FRED');
  t.same(lookUp(told, 0x8000000a), [0, 0, 0, 0]);
  t.same(lookUp(told, 0x1d, 1), [0, 0, 0, 0]);
  t.same(lookUp(told, 0xd, 3), [0, 0, 0, 0]);
  t.same(lookUp(told, 0xd, 18), [0, 0, 0, 0]);
  t.same(lookUp(told, 0xd, 1), [0xf, 0x240, 0, 0]);
});

t.test('the rest is told as it is', async (t) => {
  const told = guestCpuid(supported);
  t.same(lookUp(told, 0), [0x20, 1, 2, 3]);
  t.same(lookUp(told, 1)!.slice(0, 2), [5, 6]);
  t.equal((lookUp(told, 1)![2]! >>> 28) & 1, 1, 'AVX');
  t.same(lookUp(told, 0xd), [0x2e7, 0x240, 0xa88, 0], 'XSAVE ends with PKRU');
  t.same(lookUp(told, 0xd, 7), [0x400, 0x680, 0, 0]);
});
