import fc from 'fast-check';
import t from 'tap';
import {
  REGS_SIZE,
  type RegName,
  regOffsets,
  regsView,
  SREGS_SIZE,
  sregsView,
} from '../../src/kvm/index.js';

t.test('every field of kvm_regs has its own 8 bytes, and they fill it', async (t) => {
  const offsets = Object.values(regOffsets).sort((a, b) => a - b);
  t.same(
    offsets,
    Array.from({ length: REGS_SIZE / 8 }, (_, i) => i * 8),
  );
});

t.test('fields read back what was written, at any offset', async (t) => {
  const names = Object.keys(regOffsets) as RegName[];
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.nat(1000),
      (name, value, offset) => {
        const buffer = new ArrayBuffer(offset + REGS_SIZE);
        regsView(buffer, offset)[name] = value;
        const at = offset + regOffsets[name];
        return (
          regsView(buffer, offset)[name] === value &&
          new DataView(buffer).getBigUint64(at, true) === value
        );
      },
    ),
  );
  t.pass();
});

t.test('fields of kvm_sregs do not overlap', async (t) => {
  const buffer = new ArrayBuffer(SREGS_SIZE);
  const sregs = sregsView(buffer);
  const bytes = new Uint8Array(buffer);
  const fields: [object, string, number][] = [];
  const widths: Record<string, number> = { base: 8, limit: 4, selector: 2 };
  for (const name in sregs) {
    const value = sregs[name as keyof typeof sregs];
    if (typeof value === 'bigint') fields.push([sregs, name, 8]);
    else
      for (const field in value) {
        const isTable = name === 'gdt' || name === 'idt';
        fields.push([value, field, isTable && field === 'limit' ? 2 : (widths[field] ?? 1)]);
      }
  }
  const owner = new Array<string | undefined>(SREGS_SIZE);
  for (const [target, name, width] of fields) {
    bytes.fill(0);
    Reflect.set(target, name, width === 8 ? 2n ** 64n - 1n : 2 ** (width * 8) - 1);
    const written = [...bytes.keys()].filter((i) => bytes[i] !== 0);
    if (written.length !== width) t.fail(`${name} wrote ${written.length} bytes`);
    for (const i of written) {
      if (owner[i] !== undefined) t.fail(`${name} overlaps ${owner[i]}`);
      owner[i] = name;
    }
  }
  t.equal(fields.length, 8 * 12 + 2 * 2 + 7);
});

t.test('a view needs its bytes', async (t) => {
  t.throws(() => regsView(new ArrayBuffer(REGS_SIZE - 1)), RangeError);
  t.throws(() => sregsView(new ArrayBuffer(SREGS_SIZE), 8), RangeError);
});
