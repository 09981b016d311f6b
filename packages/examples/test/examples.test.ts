/** Every example answers as it should, deployed as a user deploys it. */
import { execFile, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FunctionManifest } from '@mayfly/protocol/api';
import jpeg from 'jpeg-js';
import t from 'tap';
import { Value } from 'typebox/value';
import { built } from './built.js';
import { CHECKS, photo, SECRET } from './checks.js';
import { deployer, folderOf, temporaryFolder } from './support.js';

const OPTIONS: Record<string, string[]> = { webhook: ['--env', `WEBHOOK_SECRET=${SECRET}`] };
const names = Object.keys(CHECKS);
const manifestOf = (name: string): FunctionManifest =>
  JSON.parse(readFileSync(join(folderOf(name), 'mayfly.json'), 'utf8'));

const root = folderOf('.');
const index = () => readFileSync(join(root, 'README.md'), 'utf8');

/** What the calls of the index answer, the one for a picture aside. */
const ANSWERS: Record<string, RegExp> = {
  'json-api': /"instalment":103280,/,
  markdown: /<h1>Notes<\/h1>/,
  'csv-report': /^North,1,10,25\.00,Tea$/m,
  'data-job': /"path": ?"\/a", ?"requests": ?1/,
  'express-app': /\{"value":26\.2188\}/,
  checksum: /^cbf43926$/m,
  track: /"points": ?2/,
  webhook: /"accepted":"push"/,
};

t.test('each folder is an example that is checked, and the index has a line of it', async (t) => {
  const folders = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !/^(dist|node_modules|test|\.tap)$/.test(entry.name))
    .map(({ name }) => name);
  t.same(folders.sort(), [...names].sort());
  for (const name of names) {
    t.match(index(), new RegExp(`^\\| \\[${name}\\]\\(${name}/\\) \\|`, 'm'));
    t.same([...Value.Errors(FunctionManifest, manifestOf(name))], [], name);
  }
});

t.test('examples', async (t) => {
  const { url, deploy } = await deployer(t);
  for (const [name, check] of Object.entries(CHECKS)) {
    const runtime = manifestOf(name).runtime ?? 'node';
    await t.test(`${name} (${runtime})`, async (t) => {
      const folder = await built(t, name);
      await check(t, await deploy(name, folder, ...(OPTIONS[name] ?? [])));
    });
  }
  const tools =
    spawnSync('sh', ['-c', 'command -v curl && command -v openssl && command -v bash']).status ===
    0;
  const skip = tools ? false : 'no curl, openssl or bash on this host';
  await t.test('the calls that the index shows', { skip }, async (t) => {
    const [, script = ''] = /## Calls\n\n```sh\n([^`]+)```/.exec(index()) ?? [];
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, 'photo.jpg'), photo(400, 300));
    const shown = script.replace('http://127.0.0.1:7070', url);
    // Each answer on a line of its own; one that is none ends it.
    const shell = `set -euo pipefail\ncurl() { command curl -sS --noproxy '*' --fail-with-body "$@"; echo; }\n${shown}`;
    const env = { ...process.env, WEBHOOK_SECRET: SECRET };
    const { stdout } = await promisify(execFile)('bash', ['-c', shell], { cwd: folder, env });
    for (const [name, answer] of Object.entries(ANSWERS)) t.match(stdout, answer, name);
    t.same([...Object.keys(ANSWERS), 'thumbnail'].sort(), [...names].sort(), 'of each example');
    const small = jpeg.decode(readFileSync(join(folder, 'small.jpg')));
    t.match(small, { width: 200, height: 150 });
  });
});
