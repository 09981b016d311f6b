import * as fc from 'fast-check';
import t from 'tap';
import {
  decodeWholeFrame,
  encodeFrame,
  encodeFrameInto,
  FRAME_LIMITS,
  type Frame,
  FrameDecoder,
} from '../src/index.js';

const SMALL = { headBytesMax: 64, bodyBytesMax: 64 };

const head = fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 4 });
const body = fc.uint8Array({ maxLength: 300 });

function drain(decoder: FrameDecoder): Frame[] {
  const frames: Frame[] = [];
  for (let frame = decoder.next(); frame; frame = decoder.next()) frames.push(frame);
  return frames;
}

function pushInPieces(decoder: FrameDecoder, bytes: Uint8Array, sizes: number[]): void {
  let offset = 0;
  for (let i = 0; offset < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    decoder.push(bytes.slice(offset, offset + size));
    offset += size;
  }
}

t.test('frames survive any cutting of the stream', async () => {
  const pieces = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.array(fc.tuple(head, body), { maxLength: 4 }), pieces, (frames, sizes) => {
      const stream = Buffer.concat(frames.map(([h, b]) => encodeFrame(h, b)));
      const decoder = new FrameDecoder();
      pushInPieces(decoder, stream, sizes);
      const got = drain(decoder).map((f) => [f.head, [...f.body]]);
      const expected = frames.map(([h, b]) => [JSON.parse(JSON.stringify(h)), [...b]]);
      return decoder.idle && JSON.stringify(got) === JSON.stringify(expected);
    }),
  );
});

t.test('any bytes at all give frames, patience, or a refusal with a code', async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 }), (chunks) => {
      const decoder = new FrameDecoder(SMALL);
      try {
        for (const chunk of chunks) decoder.push(chunk);
      } catch (error) {
        const { code } = error as { code?: string };
        return code === 'MAYFLY_FRAME_DAMAGED' || code === 'MAYFLY_FRAME_TOO_LARGE';
      }
      return drain(decoder).every((f) => typeof f.head === 'object' && f.body.length <= 64);
    }),
    { numRuns: 1000 },
  );
});

t.test('one flipped byte never escapes the limits', async () => {
  const position = fc.nat();
  fc.assert(
    fc.property(head, body, position, fc.integer({ min: 1, max: 255 }), (h, b, at, flip) => {
      const frame = Buffer.from(encodeFrame(h, b));
      const index = at % frame.length;
      frame[index] = (frame[index] ?? 0) ^ flip;
      const decoder = new FrameDecoder();
      try {
        decoder.push(frame);
      } catch (error) {
        return String((error as { code?: string }).code).startsWith('MAYFLY_FRAME_');
      }
      return drain(decoder).length <= 1;
    }),
    { numRuns: 500 },
  );
});

t.test('lengths are refused before anything is allocated for them', async (t) => {
  const prefix = (total: number, headBytes: number): Uint8Array => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(total, 0);
    bytes.writeUInt32LE(headBytes, 4);
    return bytes;
  };
  const refusal = (bytes: Uint8Array): string => {
    try {
      new FrameDecoder().push(bytes);
    } catch (error) {
      return (error as { code: string }).code;
    }
    return 'none';
  };
  t.equal(refusal(prefix(0xffffffff, 2)), 'MAYFLY_FRAME_TOO_LARGE');
  t.equal(refusal(prefix(0xffffffff, 0xffffff00)), 'MAYFLY_FRAME_TOO_LARGE');
  t.equal(refusal(prefix(10, 0xffffffff)), 'MAYFLY_FRAME_DAMAGED');
  t.equal(refusal(prefix(0, 0)), 'MAYFLY_FRAME_DAMAGED');
  t.equal(refusal(prefix(4, 0)), 'MAYFLY_FRAME_DAMAGED');
  t.equal(refusal(prefix(FRAME_LIMITS.bodyBytesMax + 7, 2)), 'MAYFLY_FRAME_TOO_LARGE');
  t.equal(refusal(prefix(FRAME_LIMITS.bodyBytesMax + 6, 2)), 'none');
});

t.test('a head must be a UTF-8 JSON object', async (t) => {
  const withHead = (bytes: Uint8Array): Uint8Array => {
    const frame = Buffer.alloc(8 + bytes.length);
    frame.writeUInt32LE(4 + bytes.length, 0);
    frame.writeUInt32LE(bytes.length, 4);
    frame.set(bytes, 8);
    return frame;
  };
  for (const text of ['[]', '12', 'null', '{a}', '"{}"']) {
    const push = () => new FrameDecoder().push(withHead(Buffer.from(text)));
    t.throws(push, { code: 'MAYFLY_FRAME_DAMAGED' }, text);
  }
  const overlong = Buffer.from([0x7b, 0x22, 0xc0, 0x80, 0x22, 0x3a, 0x31, 0x7d]);
  t.throws(() => new FrameDecoder().push(withHead(overlong)), { code: 'MAYFLY_FRAME_DAMAGED' });
});

t.test('a decoder that refused once stays refused', async (t) => {
  const decoder = new FrameDecoder();
  t.throws(() => decoder.push(new Uint8Array(8)), { code: 'MAYFLY_FRAME_DAMAGED' });
  t.throws(() => decoder.push(encodeFrame({})), { code: 'MAYFLY_FRAME_DAMAGED' });
  t.equal(decoder.next(), undefined);
});

t.test('the encoder obeys the same limits', async (t) => {
  const long = { text: 'x'.repeat(64) };
  t.throws(() => encodeFrame(long, undefined, SMALL), { code: 'MAYFLY_FRAME_TOO_LARGE' });
  t.throws(() => encodeFrame({}, new Uint8Array(65), SMALL), { code: 'MAYFLY_FRAME_TOO_LARGE' });
  t.equal(encodeFrame({}, new Uint8Array(64), SMALL).length, 8 + 2 + 64);
});

t.test("the guest's quick ways give the same", async (t) => {
  const room = Buffer.alloc(8192);
  fc.assert(
    fc.property(head, body, (h, b) => {
      const frame = Buffer.from(encodeFrame(h, b));
      const length = encodeFrameInto(room, h, b);
      const decoded = decodeWholeFrame(frame);
      return (
        (length === 0 ? frame.length > 8192 / 3 - 100 : frame.equals(room.subarray(0, length))) &&
        JSON.stringify(decoded?.head) === JSON.stringify(h) &&
        Buffer.from(b).equals(decoded?.body ?? room) &&
        decodeWholeFrame(frame.subarray(0, -1)) === undefined &&
        decodeWholeFrame(Buffer.concat([frame, Buffer.alloc(1)])) === undefined
      );
    }),
  );
  t.equal(encodeFrameInto(Buffer.alloc(20), { long: 'enough' }), 0);
  t.equal(decodeWholeFrame(Buffer.alloc(7)), undefined);
});
