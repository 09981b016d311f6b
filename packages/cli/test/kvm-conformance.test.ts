/** The conformance test itself, with few clones. */
import t from 'tap';
import { mayfly, skip } from './support/command.js';

t.test('clones differ where they must', { skip }, (t) => {
  const { status, stdout, stderr } = mayfly(['conformance', '--count', '5', '--json']);
  t.match({ status, stderr }, { status: 0, stderr: '' });
  const { ok, count, runtimes } = JSON.parse(stdout);
  t.match({ ok, count }, { ok: true, count: 5 });
  for (const { runtime, lives, findings } of runtimes) {
    t.equal(lives, 10, runtime);
    for (const { check, ok, detail } of findings) t.ok(ok, `${runtime}, ${check}: ${detail}`);
    t.ok(findings.length > 12, runtime);
  }
  t.same(
    runtimes.map(({ runtime }: { runtime: string }) => runtime),
    ['node', 'python'],
  );
  t.end();
});
