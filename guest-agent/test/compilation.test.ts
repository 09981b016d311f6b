/** What V8 still compiles in an invocation: every clone would compile it again. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { nodeAgentFlags, nodeAgentPath } from '../src/index.js';
import { AgentProcess, folderWith } from './agent-process.js';

/** Leaves a line in V8's log where the agent's wait for an invocation ends. */
const MARK = `const fs = require('fs');
const { readSync } = fs;
fs.readSync = (fd, ...rest) => {
  const count = readSync(fd, ...rest);
  if (fd === 3) eval('(function arrived() {})()');
  return count;
};`;

const FETCH = `import { createHash, randomUUID } from 'node:crypto';
const parts = { twice: (n) => n * 2, local: () => new Date(0).toLocaleString() + (1.5).toLocaleString('en') };
class Item { constructor(price) { this.price = price; } get total() { return parts.twice(this.price); } }
export default { async fetch(request, env) {
  const { prices } = await request.json();
  const query = new URL(request.url).searchParams.get('q');
  const items = prices.map((price) => new Item(price).total);
  console.log('asked', { query });
  await new Promise((resolve) => setTimeout(resolve, 1));
  const digest = createHash('sha256').update(randomUUID()).digest('hex').length;
  return Response.json({ items, digest, at: new Date().toISOString(), local: parts.local() });
} };`;

const HANDLER = `const double = (n) => n * 2;
export const handler = async (event) => ({ statusCode: 200, body: String(double(event.n ?? 1)) });`;

/** Of Node.js: what its timers and the collector call, now or then, and wrappers that nearly each of its functions has. */
const NOW_OR_THEN = /^node:internal\/(validators|http resetCache$|deps\/undici\/undici (onTick)?$)/;

/** Functions that were compiled from the arrival of the invocation on, until the next wait ends, as `script name`. */
function compiledIn(log: string): string[] {
  const lines = readFileSync(log, 'utf8').split('\n');
  const script = new Map<string, string>();
  for (const line of lines) {
    const [, id, name] = /^script-details,(\d+),([^,]*)/.exec(line) ?? [];
    if (id !== undefined) script.set(id, name ?? '');
  }
  const [arrived, ended] = lines.flatMap((line, at) =>
    /^function,interpreter,.*,arrived$/.test(line) ? [at] : [],
  );
  if (arrived === undefined || ended === undefined) throw new Error('no invocation in the log');
  return lines
    .slice(arrived + 1, ended)
    .map((line) => line.split(','))
    .filter(([event, kind]) => event === 'function' && kind === 'interpreter')
    .map(([, , id = '', , , , , name]) => `${script.get(id)} ${name}`);
}

for (const [name, source, ask] of [
  [
    'a fetch function',
    FETCH,
    (agent: AgentProcess) => agent.request('/?q=a', { method: 'POST', body: '{"prices":[1,2]}' }),
  ],
  ['a handler', HANDLER, (agent: AgentProcess) => agent.event({ n: 3 })],
] as const) {
  t.test(`${name} is compiled before it is called, and what it uses is`, async (t) => {
    const folder = folderWith(t, { 'f.mjs': source, 'mark.cjs': MARK });
    const log = join(folder, 'v8.log');
    const agent = new AgentProcess(
      t,
      [
        process.execPath,
        ...nodeAgentFlags,
        ...['--require', join(folder, 'mark.cjs')],
        ...['--log-function-events', `--logfile=${log}`, '--no-logfile-per-isolate'],
        nodeAgentPath,
      ],
      { MAYFLY_FUNCTION: join(folder, 'f.mjs') },
    );
    t.match((await agent.receive()).head, { type: 'ready' });
    t.match((await ask(agent)).head, { type: /^(response|result)$/ });
    agent.end();
    t.equal(await agent.ended, 'exit 0');
    const compiled = compiledIn(log).filter((line) => !NOW_OR_THEN.test(line));
    t.same(compiled, []);
  });
}
