/** Programs that include mayfly.h, spoken to in frames. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { AgentProcess, folderWith } from './agent-process.js';

const source = fileURLToPath(new URL('../../test/native.c', import.meta.url));
const program = join(folderWith(t, {}), 'native');
const flags = ['-O2', '-Wall', '-Wextra', '-Werror'];
execFileSync('gcc', ['-std=gnu17', ...flags, '-o', program, source]);

t.test('a program answers, streams, logs and fails', async (t) => {
  const agent = new AgentProcess(t, [program], {});
  t.match((await agent.receive()).head, { type: 'ready', exports: 'frames' });
  const log = { type: 'log', logs: [{ level: 'info', text: 'got "it"\n' }] };
  t.match((await agent.request('/a', { method: 'POST', body: 'xyz' })).head, log);
  const answer = await agent.receive();
  t.match(answer.head, {
    type: 'response',
    status: 201,
    headers: [
      ['x-a', 'b, "c": d'],
      ['set-cookie', 'e'],
    ],
  });
  t.equal(answer.text, '1 http://h:8080/a 3');
  t.match((await agent.request('/fail')).head, log);
  t.match((await agent.receive()).head, { code: 'FUNCTION_FAILED', message: 'no \\ good' });
  t.match((await agent.event(null)).head, log);
  t.equal((await agent.receive()).text, '3 event 4');

  const head = { type: 'request', method: 'POST', url: 'http://h/stream', headers: [], more: true };
  t.match((await agent.invoke(head, 'one ')).head, log);
  agent.send({ type: 'chunk' }, 'two ');
  agent.send({ type: 'chunk', end: true }, 'three');
  t.match((await agent.receive()).head, { type: 'response', status: 200, more: true });
  const pieces = [await agent.receive(), await agent.receive(), await agent.receive()];
  t.same(
    pieces.map(({ text }) => text),
    ['one ', 'two ', 'three'],
  );
  t.match((await agent.receive()).head, { type: 'chunk', end: true });
});

t.test('it compiles pedantically', async (t) => {
  const object = join(folderWith(t, {}), 'native.o');
  execFileSync('gcc', [
    '-std=gnu17',
    ...flags,
    '-Wpedantic',
    '-Wshadow',
    '-c',
    '-o',
    object,
    source,
  ]);
  t.pass();
});
