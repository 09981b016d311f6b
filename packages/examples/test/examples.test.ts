/** Every example answers as it should, deployed as a user deploys it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FunctionManifest } from '@mayfly/protocol/api';
import t from 'tap';
import { Value } from 'typebox/value';
import { built } from './built.js';
import { CHECKS, SECRET } from './checks.js';
import { deployer, folderOf } from './support.js';

const OPTIONS: Record<string, string[]> = { webhook: ['--env', `WEBHOOK_SECRET=${SECRET}`] };
const names = Object.keys(CHECKS);
const manifestOf = (name: string): FunctionManifest =>
  JSON.parse(readFileSync(join(folderOf(name), 'mayfly.json'), 'utf8'));

const root = folderOf('.');

t.test('each folder is an example that is checked, and the index has a line of it', async (t) => {
  const folders = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !/^(dist|node_modules|test|\.tap)$/.test(entry.name))
    .map(({ name }) => name);
  t.same(folders.sort(), [...names].sort());
  const index = readFileSync(join(root, 'README.md'), 'utf8');
  for (const name of names) {
    t.match(index, new RegExp(`^\\| \\[${name}\\]\\(${name}/\\) \\|`, 'm'));
    t.same([...Value.Errors(FunctionManifest, manifestOf(name))], [], name);
  }
});

t.test('examples', async (t) => {
  const deploy = await deployer(t);
  for (const [name, check] of Object.entries(CHECKS)) {
    const runtime = manifestOf(name).runtime ?? 'node';
    await t.test(`${name} (${runtime})`, async (t) => {
      const folder = await built(t, name);
      await check(t, await deploy(name, folder, ...(OPTIONS[name] ?? [])));
    });
  }
});
