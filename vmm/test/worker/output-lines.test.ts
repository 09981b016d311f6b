import t from 'tap';
import { OutputLines } from '../../src/worker/output-lines.js';

t.test('a character that comes in pieces, with lines of the other stream in between', async (t) => {
  const lines = new OutputLines();
  for (const byte of Buffer.from('grün\n')) {
    lines.add('stdout', Uint8Array.of(byte));
    lines.add('stderr', Buffer.from('.'));
  }
  const shown = lines.takeLast().map(({ level, text }) => [level, text]);
  t.same(shown, [
    ['info', 'grün'],
    ['error', '......'],
  ]);
});

t.test('neither lines nor their number have no end', async (t) => {
  const lines = new OutputLines({ lines: 3, chars: 1000 * 1000 });
  lines.add('stdout', Buffer.from('x'.repeat(10_000)));
  lines.add('stdout', Buffer.from('\na\nb\nc\n'));
  const texts = lines.takeLast().map(({ text }) => text);
  t.equal(texts[0]?.length, 4097, 'cut, which is shown');
  t.same(texts.slice(1), ['', 'a', '2 more lines were dropped']);
});

t.test('what the guest kernel says is no line of the program', async (t) => {
  const lines = new OutputLines();
  lines.add('stderr', Buffer.from('mayfly: system call 425 is not there\nmine\n'));
  t.same(
    lines.take().map(({ text }) => text),
    ['mine'],
  );
});
