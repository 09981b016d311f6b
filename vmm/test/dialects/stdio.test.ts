/** What a filter writes, as frames; the console is a stand-in, vmm/test/machine/kvm-dialects.test.ts has real programs. */
import { encodeFrame, type Frame } from '@mayfly/protocol';
import t from 'tap';
import { StdioTalk } from '../../src/dialects/stdio.js';
import type { Machine } from '../../src/machine/machine.js';

function setUp(type: 'request' | 'event') {
  const frames: [type: unknown, text: string, rest: object][] = [];
  const input: string[] = [];
  const console = {
    pushInput: (chunk: Uint8Array) => input.push(Buffer.from(chunk).toString()) < 2,
    endInput: () => input.push('end'),
    holdOutput: () => {},
    releaseOutput: () => {},
  };
  let damage: unknown;
  const talk = new StdioTalk({ devices: { console }, serve: () => {} } as unknown as Machine, {
    frame: ({ head: { type, ...rest }, body }: Frame) => {
      frames.push([type, Buffer.from(body).toString(), rest]);
    },
    damaged: (error) => {
      damage = error;
    },
    drained: () => {},
  });
  const send = (head: object, body: string) => talk.send(encodeFrame(head, Buffer.from(body)));
  send({ type, more: true }, 'a');
  return { talk, send, frames, input, damage: () => damage };
}

const TEXT = [['content-type', 'text/plain; charset=utf-8']];

t.test('a short answer is one frame, when the program has ended', async (t) => {
  const { talk, frames } = setUp('request');
  talk.output(Buffer.from('hel'));
  talk.turned(false);
  talk.output(Buffer.from('lo'));
  t.same(frames, []);
  talk.exited(0);
  t.same(frames, [['response', 'hello', { status: 200, headers: TEXT, logs: [] }]]);
});

t.test('what it has written goes on when it waits, and when it is much', async (t) => {
  const { talk, frames } = setUp('request');
  talk.output(Buffer.from('hé').subarray(0, 2));
  talk.turned(true);
  talk.output(Buffer.alloc(65 * 1024, 'x'));
  talk.turned(false);
  talk.exited(0);
  t.same(
    frames.map(([type, text, rest]) => [type, text.length, rest]),
    [
      ['response', 2, { status: 200, headers: TEXT, logs: [], more: true }],
      ['chunk', 65 * 1024, {}],
      ['chunk', 0, { end: true }],
    ],
  );
});

t.test('input goes on in pieces until the console has enough', async (t) => {
  const { send, input } = setUp('request');
  t.equal(send({ type: 'chunk' }, 'b'), false);
  t.equal(send({ type: 'chunk', end: true }, ''), true);
  t.same(input, ['a', 'b', 'end']);
});

t.test('the result of an event is whole, and bounded', async (t) => {
  const { talk, frames, damage } = setUp('event');
  talk.output(Buffer.alloc(100 * 1024, ' '));
  talk.turned(true);
  talk.output(Buffer.from('{"a":1}'));
  talk.exited(0);
  t.same(JSON.parse(frames[0]?.[1] ?? ''), { a: 1 });
  for (let i = 0; i < 17; i++) talk.output(Buffer.alloc(1 << 20));
  t.match(damage(), { code: 'MAYFLY_FRAME_TOO_LARGE' });
});

t.test('an exit code that says it failed', async (t) => {
  const { talk, frames } = setUp('request');
  talk.output(Buffer.from('half'));
  talk.exited(3);
  t.match(frames, [['error', '', { code: 'FUNCTION_FAILED', message: /exit code 3/ }]]);
});
