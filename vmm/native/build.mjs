/**
 * Builds the native addon into build/Release, unless it is newer than everything that it is made of.
 * The headers come from the installation of the running Node.js, if it has them, so that nothing is downloaded.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const native = dirname(fileURLToPath(import.meta.url));
const root = dirname(native);
const gypFile = join(root, 'binding.gyp');
const addon = join(root, 'build/Release/mayfly_vmm.node');
/** The makefiles hold for one version of Node.js, whose name is in here, and one state of binding.gyp. */
const stamp = join(root, 'build/configured-for');

const modified = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

function isConfigured() {
  return modified(stamp) > modified(gypFile) && readFileSync(stamp, 'utf8') === process.version;
}

function isBuilt() {
  const built = modified(addon);
  const sources = readdirSync(native).filter((file) => /\.(c|cc|h)$/.test(file));
  return sources.every((file) => modified(join(native, file)) < built);
}

function run(command) {
  const nodeGyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
  const prefix = dirname(dirname(process.execPath));
  const hasHeaders = existsSync(join(prefix, 'include/node/node_api.h'));
  const nodedir = hasHeaders ? [`--nodedir=${prefix}`] : [];
  const { status } = spawnSync(
    process.execPath,
    [nodeGyp, command, ...nodedir, '--loglevel=error'],
    {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    },
  );
  if (status !== 0) process.exit(status ?? 1);
}

if (!isConfigured()) {
  run('configure');
  writeFileSync(stamp, process.version);
  run('build');
} else if (!isBuilt()) {
  run('build');
}
