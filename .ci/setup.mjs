#!/usr/bin/env node
// npm run setup: brings a machine that has only Node.js and npm to where every command of the repository works.
// Does nothing, quickly, when nothing changed. Imports no package: there may be none yet.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run, StepError, secondsSince, stepPrinter } from './step.mjs';
import { ROOT, workspaceFolders } from './workspace.mjs';

const STAMPS = join(ROOT, 'node_modules/.mayfly-setup.json');

/** What the build and the tests call, and the Debian package that brings it. */
const SYSTEM_TOOLS = [
  { path: 'gdb', debian: 'gdb' },
  { path: 'readelf', debian: 'binutils' },
  { path: 'gcc', debian: 'gcc libc6-dev' },
  { path: 'g++', debian: 'g++' },
  { path: 'make', debian: 'make' },
  { path: 'python3', debian: 'python3' },
  { path: 'mkfs.erofs', debian: 'erofs-utils' },
  { path: 'setfattr', debian: 'attr' },
  { path: 'busybox', debian: 'busybox-static' },
  { path: 'musl-gcc', debian: 'musl-tools' },
  { path: 'sqlite3', debian: 'sqlite3' },
  { path: 'jq', debian: 'jq' },
  { path: 'xz', debian: 'xz-utils' },
  { path: 'zstd', debian: 'zstd' },
];

/** What some tests want, which are skipped without it: installed with --tests, where that is possible. */
const TEST_TOOLS = [
  { path: 'qemu-system-x86_64', debian: 'qemu-system-x86' },
  { path: 'curl', debian: 'curl' },
  { path: 'openssl', debian: 'openssl' },
];

const at = (...parts) => join(ROOT, ...parts);
const manifest = (folder) => JSON.parse(readFileSync(at(folder, 'package.json'), 'utf8'));

function onPath(name) {
  const folders = (process.env.PATH ?? '').split(':').concat('/usr/sbin', '/sbin');
  return folders.some((folder) => existsSync(join(folder, name)));
}

const missingPackages = (tools) =>
  tools.filter(({ path }) => !onPath(path)).flatMap(({ debian }) => debian.split(' '));

async function systemPackages() {
  const missing = missingPackages(SYSTEM_TOOLS);
  if (missing.length === 0) return 'all there';
  if (!canInstall()) {
    throw new StepError(`missing system packages (Debian names): ${missing.join(' ')}`);
  }
  return install(missing);
}

async function testPackages() {
  const missing = missingPackages(TEST_TOOLS);
  if (missing.length === 0) return 'all there';
  return canInstall() ? install(missing) : `without ${missing.join(' ')}`;
}

const canInstall = () => process.getuid() === 0 && onPath('apt-get');

async function install(missing) {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  await run('apt-get', ['update', '-q'], { env });
  await run('apt-get', ['install', '-qy', '--no-install-recommends', ...missing], { env });
  return `installed ${missing.join(' ')}`;
}

/** Every file at or below `path`, sorted; what the tools themselves write is left out. */
function filesBelow(path) {
  const skip = new Set(['node_modules', 'dist', 'build', '.git']);
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => !skip.has(entry.name))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const child = join(path, entry.name);
      return entry.isDirectory() ? filesBelow(child) : [child];
    });
}

/** A hash of the Node.js version and of these files' contents. */
function hashOf(paths) {
  const hash = createHash('sha256').update(`${process.version} ${process.arch}\n`);
  for (const path of paths) {
    hash
      .update(`${path.slice(ROOT.length)}\n`)
      .update(readFileSync(path))
      .update('\n');
  }
  return hash.digest('hex');
}

function readStamps() {
  return existsSync(STAMPS) ? JSON.parse(readFileSync(STAMPS, 'utf8')) : {};
}

/** Calls `work` unless it has been done for exactly these inputs and `output` is still there. */
async function unlessDone(name, inputs, output, work) {
  const key = hashOf(inputs);
  if (readStamps()[name] === key && existsSync(output)) return 'unchanged';
  await work();
  mkdirSync(dirname(STAMPS), { recursive: true });
  writeFileSync(STAMPS, `${JSON.stringify({ ...readStamps(), [name]: key }, null, 2)}\n`);
  return undefined;
}

/** The pinned pnpm, whatever is installed: npx fetches it once into npm's own cache. */
async function pnpm(args) {
  const version = manifest('.').packageManager;
  await run('npx', ['--yes', version, ...args], { cwd: ROOT, env: { CI: 'true' } });
}

const dependencyFiles = () =>
  [at('pnpm-lock.yaml'), at('pnpm-workspace.yaml')].concat(
    workspaceFolders().map((folder) => at(folder, 'package.json')),
  );

async function dependencies() {
  return unlessDone('dependencies', dependencyFiles(), at('node_modules/.modules.yaml'), () =>
    pnpm(['install', '--frozen-lockfile']),
  );
}

/** By itself, tsc does not look again at what it could not build for want of a package. */
async function typescript() {
  const compiler = at('node_modules/typescript/bin/tsc');
  const build = (...options) => run(process.execPath, [compiler, '-b', ...options], { cwd: ROOT });
  const done = await unlessDone('typescript', dependencyFiles(), compiler, () => build('--force'));
  if (done === 'unchanged') await build();
}

async function nativeAddon() {
  if (manifest('vmm').scripts?.['build:native'] === undefined) return 'none yet';
  const inputs = [at('vmm/package.json'), at('vmm/binding.gyp')]
    .filter(existsSync)
    .concat(filesBelow(at('vmm/native')));
  return unlessDone('native', inputs, at('vmm/build/Release'), () =>
    run('npm', ['run', '-s', 'build:native'], { cwd: at('vmm') }),
  );
}

async function guestKernel() {
  if (!existsSync(at('firmware/Makefile'))) return 'none yet';
  await run('make', ['-C', 'firmware', '-j2', '-s'], { cwd: ROOT });
}

async function benchPrograms() {
  await run('make', ['-C', 'bench', '-s'], { cwd: ROOT });
}

/** Like the agent's, but for what this host's processes load. */
async function schemas() {
  const inputs = [at('pnpm-lock.yaml'), ...filesBelow(at('packages/schema'))];
  return unlessDone('schemas', inputs, at('packages/schema/dist/stringify.cjs'), () =>
    run('npm', ['run', '-s', 'build'], { cwd: at('packages/schema') }),
  );
}

async function guestAgent() {
  if (manifest('guest-agent').scripts?.build === undefined) return 'none yet';
  const inputs = ['guest-agent', 'packages/protocol'].flatMap((folder) => filesBelow(at(folder)));
  return unlessDone('agent', inputs, at('guest-agent/dist'), () =>
    run('npm', ['run', '-s', 'build'], { cwd: at('guest-agent') }),
  );
}

async function setup({ quiet, tests }) {
  const start = performance.now();
  const step = stepPrinter({ quiet });
  if (Number(process.versions.node.split('.')[0]) < 20) {
    throw new StepError(`Node.js 20 or newer is needed, this is ${process.version}`);
  }
  await step('system packages', systemPackages);
  if (tests) await step('packages for tests', testPackages);
  await step('dependencies', dependencies);
  await step('typescript', typescript);
  await step('schemas', schemas);
  await step('native addon', nativeAddon);
  await step('guest kernel', guestKernel);
  await step('guest agent', guestAgent);
  await step('bench programs', benchPrograms);
  if (!quiet) console.log(`set up in ${secondsSince(start)}`);
}

try {
  const has = (flag) => process.argv.includes(flag);
  await setup({ quiet: has('--quiet'), tests: has('--tests') });
} catch (error) {
  if (!(error instanceof StepError)) throw error;
  console.error(`setup: ${error.message}`);
  process.exitCode = 1;
}
