/** XSAVE areas in the standard format (Intel SDM vol. 1, 13.4). */

const XSTATE_BV = 512;
/** Where Linux tells debuggers which components there are. */
const XCR0_AT = 464;
const X87 = 1n;
const SSE = 2n;
const AVX = 4n;

/** What debuggers know the places of, largest first. Others differ between processors. */
const LAYOUTS = [
  { components: 0xe7n, size: 2688 }, // with AVX-512
  { components: 0x7n, size: 832 },
  { components: 0x3n, size: 576 },
];

/** A copy of the known components, in which those in their initial state (XSTATE_BV) have its bytes. */
export function normalXsave(area: Buffer, xcr0: bigint): Buffer {
  const layout = LAYOUTS.find(
    ({ components, size }) => (xcr0 & components) === components && area.length >= size,
  );
  const { components, size } = layout ?? { components: X87 | SSE, size: 576 };
  const copy = Buffer.alloc(size);
  area.copy(copy);
  const used = copy.readBigUInt64LE(XSTATE_BV) & components;
  if ((used & X87) === 0n) {
    copy.fill(0, 0, 24);
    copy.fill(0, 32, 160);
    copy.writeUInt16LE(0x37f, 0);
  }
  if ((used & SSE) === 0n) copy.fill(0, 160, 416);
  if ((used & AVX) === 0n) copy.fill(0, 576, Math.min(832, size));
  copy.writeBigUInt64LE(components, XCR0_AT);
  copy.writeBigUInt64LE((used | X87 | SSE | AVX) & components, XSTATE_BV);
  return copy;
}
