/** Framing of gdb's protocol: what is sent arrives, however it is cut; what is damaged is told. */
import fc from 'fast-check';
import t from 'tap';
import { type Incoming, PACKET_MAX, PacketReader, packet } from '../../src/debug/gdb-packets.js';

function read(...chunks: Uint8Array[]): Incoming[] {
  const reader = new PacketReader();
  return chunks.flatMap((chunk) => [...reader.push(chunk)]);
}

const latin1 = fc
  .array(fc.nat(255), { maxLength: 200 })
  .map((codes) => String.fromCharCode(...codes));

t.test('packets arrive, however the stream is cut', async (t) => {
  fc.assert(
    fc.property(fc.array(latin1, { maxLength: 5 }), fc.nat(2000), (texts, cut) => {
      const bytes = Buffer.concat(texts.map(packet));
      const found = read(bytes.subarray(0, cut), bytes.subarray(cut));
      t.same(
        found,
        texts.map((data) => ({ kind: 'packet', data })),
      );
    }),
    { numRuns: 200 },
  );
});

t.test('what is not a packet is told apart', async (t) => {
  const ascii = (text: string) => Buffer.from(text, 'latin1');
  t.same(read(ascii('+-\x03')), [{ kind: 'again' }, { kind: 'interrupt' }]);
  t.same(read(ascii('$g#68')), [{ kind: 'damaged' }], 'a wrong checksum');
  t.same(read(ascii('$g#67')), [{ kind: 'packet', data: 'g' }]);
  t.same(read(ascii('$m0$g#67')), [{ kind: 'packet', data: 'g' }], 'a packet begins anew');
  const long = 'x'.repeat(PACKET_MAX + 10);
  t.same(read(packet(long)), [{ kind: 'damaged' }], 'one that is too long');
  t.same(read(packet(long), packet('g')).at(-1), { kind: 'packet', data: 'g' }, 'is over then');
});

t.test('any bytes are read without harm', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      for (const incoming of read(bytes)) {
        if (incoming.kind === 'packet' && incoming.data.length > bytes.length) return false;
      }
      return true;
    }),
  );
  t.pass();
});
