/** Messages between processes: whole however the bytes come, and an end where they are none. */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { Wire } from '../../src/pool/wire.js';

/** A socket that keeps what is written, and is given what is read. */
class FakeSocket extends EventEmitter {
  writable = true;
  readonly written: Buffer[] = [];
  error: Error | undefined;

  write(bytes: Buffer): void {
    this.written.push(bytes);
  }

  destroy(error: Error): void {
    this.error = error;
    this.writable = false;
    this.emit('close');
  }
}

function wire() {
  const socket = new FakeSocket();
  const received: unknown[] = [];
  let closed = 0;
  const end = new Wire<unknown, unknown>(
    socket as unknown as Socket,
    (message) => received.push(message),
    () => closed++,
  );
  return { socket, received, end, closed: () => closed };
}

const message = fc.record({
  id: fc.nat(),
  text: fc.string(),
  bytes: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  list: fc.array(fc.oneof(fc.boolean(), fc.double({ noNaN: true }), fc.constant(null))),
});

t.test('what one end sends, the other receives, wherever the stream is cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(message, { minLength: 1, maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
      async (messages, cuts) => {
        const from = wire();
        for (const one of messages) from.end.send(one);
        await new Promise(setImmediate);
        if (from.socket.written.length !== 1) throw new Error('more than one write');
        const stream = Buffer.concat(from.socket.written);
        const to = wire();
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = cuts[i % cuts.length] as number;
          to.socket.emit('data', stream.subarray(at, at + size));
          at += size;
        }
        t.same(to.received, messages);
      },
    ),
    { numRuns: 100 },
  );
});

t.test('bytes that are no message end it, once', async (t) => {
  for (const bytes of [
    [255, 255, 255, 255, 1],
    [1, 0, 0, 0, 0xa5],
  ]) {
    const { socket, received, end, closed } = wire();
    socket.emit('data', Buffer.from(bytes));
    t.ok(socket.error);
    t.equal(closed(), 1);
    t.same(received, []);
    end.send({ id: 1 });
    await new Promise(setImmediate);
    t.same(socket.written, [], 'nobody would read it');
  }
});
