/** What V8 still compiles in an invocation: every clone would compile it again. */
import { join } from 'node:path';
import t from 'tap';
import { nodeAgentPath, nodeFlags } from '../src/index.js';
import { AgentProcess, folderWith } from './agent-process.js';
import { ARRIVED, compiledIn, logFlags } from './compiled.js';

/** Leaves a line in V8's log where the agent's wait for an invocation ends. */
const MARK = `const fs = require('fs');
const { readSync } = fs;
fs.readSync = (fd, ...rest) => {
  const count = readSync(fd, ...rest);
  if (fd === 3) ${ARRIVED};
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
        ...nodeFlags,
        ...['--require', join(folder, 'mark.cjs')],
        ...logFlags(log),
        nodeAgentPath,
      ],
      { MAYFLY_FUNCTION: join(folder, 'f.mjs') },
    );
    t.match((await agent.receive()).head, { type: 'ready' });
    t.match((await ask(agent)).head, { type: /^(response|result)$/ });
    agent.end();
    t.equal(await agent.ended, 'exit 0');
    t.same(compiledIn(log), []);
  });
}
