/** mayfly checkpoint: what is done with machines that are stored on disk. Making them is in checkpoint-create.ts. */
import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { MayflyError } from '@mayfly/protocol';
import type {
  CheckpointDiff,
  CheckpointStore,
  Layer,
  Manifest,
  TreeNode,
} from '@mayfly/vmm/checkpoint';
import type { Command } from 'commander';
import { examples } from '../examples.js';
import {
  EXIT_PIPE,
  type Io,
  plain,
  printError,
  printJson,
  removeEach,
  table,
  unreadable,
  unwritable,
} from '../output.js';
import { Progress } from '../progress.js';
import { formatSize } from '../units.js';
import { addCreate } from './checkpoint-create.js';
import { library, ofStore, openStore, PAGE, type StoreFlags } from './checkpoint-store.js';

const DIGEST_SHOWN = 12;

export function addCheckpoint(program: Command, io: Io): void {
  const checkpoint = program
    .command('checkpoint')
    .description('Store machines, and list, compare, revert, move and remove what is stored.')
    .enablePositionalOptions();
  addCreate(checkpoint, io);
  examples(ofStore(checkpoint.command('ls').alias('list')), 'mayfly checkpoint ls --tree')
    .description('List checkpoints.')
    .option('--tree', 'show which is a difference to which')
    .option('-q, --quiet', 'only their names')
    .action((flags: ListFlags) => list(flags, io));
  examples(
    ofStore(checkpoint.command('inspect').argument('<name>', 'a name or an id')),
    'mayfly checkpoint inspect py',
  )
    .description('Show what a checkpoint has and what it needs.')
    .action((name: string, flags: StoreFlags) => inspect(name, flags, io));
  examples(
    ofStore(checkpoint.command('diff').argument('<from>').argument('<to>')),
    'mayfly checkpoint diff py libs',
  )
    .description('Show what sets two checkpoints apart: pages by region, registers, devices.')
    .action((from: string, to: string, flags: StoreFlags) => diff(from, to, flags, io));
  examples(
    ofStore(
      checkpoint.command('revert').argument('<name>').argument('[to]', 'default: its parent'),
    ).addHelpText('after', '\nWhat was taken from it keeps its content.'),
    'mayfly checkpoint revert libs py',
  )
    .description('Make a checkpoint again what another one is.')
    .action((name: string, to: string | undefined, flags: StoreFlags) =>
      revert(name, to, flags, io),
    );
  examples(
    ofStore(
      checkpoint.command('rm').alias('remove').argument('<names...>', 'names or ids'),
    ).addHelpText('after', '\nClones that run go on.'),
    'mayfly checkpoint rm libs py',
  )
    .description('Remove checkpoints. What was taken from one is merged with it first.')
    .action((names: string[], flags: StoreFlags) => remove(names, flags, io));
  examples(
    ofStore(checkpoint.command('verify').argument('[names...]', 'names or ids')),
    'mayfly checkpoint verify --all',
  )
    .description('Read all of a checkpoint, its parents and its layers, and compare checksums.')
    .option('--all', 'verify all checkpoints')
    .action((names: string[], flags: StoreFlags & { all?: boolean }, command: Command) => {
      if ((names.length === 0) !== (flags.all === true)) {
        command.error('error: name checkpoints, or give --all');
      }
      return verify(names, flags, io);
    });
  addExport(checkpoint, io);
  addImport(checkpoint, io);
}

/* ---- list, inspect ---- */

interface Described extends Manifest {
  parentName: string | null;
  storedBytes: number;
  /** What it needs that is not here. */
  unmet: { versions: string[]; cpuFeatures: string[] };
}

async function described(manifest: Manifest, all: readonly Manifest[]): Promise<Described> {
  const { describeCpu, unmetBy } = await library();
  return {
    ...manifest,
    parentName: all.find(({ id }) => id === manifest.parent)?.name ?? null,
    storedBytes: manifest.memory.pages * PAGE,
    unmet: unmetBy(manifest, describeCpu()),
  };
}

interface ListFlags extends StoreFlags {
  tree?: boolean;
  quiet?: boolean;
}

async function list(flags: ListFlags, io: Io): Promise<void> {
  const store = await openStore(flags, io);
  const all = await store.list();
  if (flags.quiet) return io.stdout(all.map(({ name }) => `${name}\n`).join(''));
  const broken = await store.broken();
  const checkpoints = await Promise.all(all.map((m) => described(m, all)));
  if (flags.json) return printJson(io, { checkpoints, broken });
  for (const { name, reason } of broken) {
    io.stderr(`mayfly: note: ${plain(name)} is no usable checkpoint: ${plain(reason)}\n`);
  }
  if (all.length === 0) return io.stdout('no checkpoints\n');
  const shown = new Map(checkpoints.map((c) => [c.id, c]));
  const { treeOf } = await library();
  const lines = flags.tree
    ? treeLines(treeOf(all))
    : all.map((m): [string, Manifest] => [m.name, m]);
  const rows = lines.map(([label, m]) => row(label, shown.get(m.id)!));
  io.stdout(table([['NAME', 'PARENT', 'STORED', 'MEMORY', 'CREATED', 'COMMAND'], ...rows]));
}

function row(
  label: string,
  { parentName, parent, storedBytes, memory, ...m }: Described,
): string[] {
  const note = isUnmet(m.unmet) ? ' (cannot run here)' : '';
  return [
    label,
    parentName ?? (parent === undefined ? '' : `missing: ${parent}`),
    formatSize(storedBytes),
    formatSize(memory.size),
    m.createdAt,
    `${plain(m.command.join(' '))}${note}`,
  ];
}

const isUnmet = ({ versions, cpuFeatures }: Described['unmet']) =>
  versions.length + cpuFeatures.length > 0;

function treeLines(nodes: readonly TreeNode[], indent = ''): [string, Manifest][] {
  return nodes.flatMap(({ manifest, children }, i) => {
    const last = i === nodes.length - 1;
    const [branch, below] = last ? ['└─ ', '   '] : ['├─ ', '│  '];
    return [
      [`${indent}${branch}${manifest.name}`, manifest],
      ...treeLines(children, `${indent}${below}`),
    ] as [string, Manifest][];
  });
}

async function inspect(name: string, flags: StoreFlags, io: Io): Promise<void> {
  const { countPages, unmetText } = await library();
  const store = await openStore(flags, io);
  const all = await store.list();
  const manifest = await store.get(name);
  const children = all.filter(({ parent }) => parent === manifest.id).map((m) => m.name);
  const layers = manifest.layers.map((layer) => ({ ...layer, present: store.layers.has(layer) }));
  const runs = store.workingSet(manifest);
  const workingSetPages = runs === undefined ? null : countPages(runs);
  const found = { ...(await described(manifest, all)), layers, children, workingSetPages };
  if (flags.json) return printJson(io, found);
  const { id, memory, state, cpu, command, createdAt, parentName, parent, storedBytes, unmet } =
    found;
  const rows: string[][] = [
    ['name', found.name],
    ['id', id],
    ['created', found.mayfly ? `${createdAt}, by Mayfly ${plain(found.mayfly)}` : createdAt],
    ['command', plain(command.join(' '))],
    [
      'network',
      plain(found.network?.join(' ') ?? '(nothing, or what `mayfly clone --allow-net` says)'),
    ],
    ['parent', parentName ?? parent ?? '(none: it is whole)'],
    ['children', children.join(' ') || '(none)'],
    [
      'memory',
      `${formatSize(memory.size)}, ${memory.pages} pages stored (${formatSize(storedBytes)})`,
    ],
    [
      'working set',
      workingSetPages === null
        ? '(not recorded yet)'
        : `${workingSetPages} pages (${formatSize(workingSetPages * PAGE)}), copied when a clone is made`,
    ],
    ...layers.map(({ digest, size, present }, i) => [
      i === 0 ? 'layers' : '',
      `${digest} ${present ? formatSize(size) : '(missing)'}`,
    ]),
    ['guest kernel', `${found.kernel.slice(0, DIGEST_SHOWN)}, ABI ${found.abi}`],
    ['state', `version ${state.version}`],
    ['processor', plain(cpu.model)],
    ['CPU features', plain(cpu.features.join(' '))],
    ['runs here', `${isUnmet(unmet) ? `no, it needs: ${unmetText(unmet, manifest)}` : 'yes'}`],
  ];
  io.stdout(table(rows));
}

/* ---- diff ---- */

async function diff(from: string, to: string, flags: StoreFlags, io: Io): Promise<void> {
  const store = await openStore(flags, io);
  const { diffCheckpoints } = await library();
  const found = await diffCheckpoints(store, from, to);
  if (flags.json) return printJson(io, found);
  io.stdout(diffText(found));
}

function diffText({ from, to, pages, regions, changes }: CheckpointDiff): string {
  if (pages === 0 && changes.length === 0) return `${from} and ${to} are the same\n`;
  const memory =
    pages === null
      ? 'their memories have different sizes\n'
      : `${pages} pages differ (${formatSize(pages * PAGE)})\n`;
  const rows = regions.map(({ name, pages, runs }) => [
    `  ${name}`,
    `${pages} pages`,
    `in ${runs.length} ${runs.length === 1 ? 'place' : 'places'}, from 0x${(runs[0]![0] * PAGE).toString(16)}`,
  ]);
  const words = changes.map(({ part, what, from, to }) => [
    part,
    plain(what),
    `${plain(from ?? '(none)')} → ${plain(to ?? '(none)')}`,
  ]);
  return `${memory}${table(rows)}${words.length > 0 ? '\n' : ''}${table(words)}`;
}

/* ---- revert, rm, verify ---- */

async function withProgress<T>(work: (progress: Progress) => Promise<T>): Promise<T> {
  const progress = new Progress(process.stderr);
  try {
    return await work(progress);
  } finally {
    progress.end();
  }
}

async function revert(
  name: string,
  to: string | undefined,
  flags: StoreFlags,
  io: Io,
): Promise<void> {
  const store = await openStore(flags, io);
  const manifest = await withProgress((progress) =>
    store.revert(name, to, progress.counter('keeping what was taken from it')),
  );
  if (flags.json) return printJson(io, manifest);
  const target = await store.get(to ?? manifest.parent!);
  io.stdout(`${manifest.name} is what ${target.name} is\n`);
}

async function remove(names: string[], flags: StoreFlags, io: Io): Promise<void> {
  const store = await openStore(flags, io);
  const removed = await removeEach(await childrenFirst(names, store), io, async (name) => {
    await withProgress((progress) => store.remove(name, progress.counter(`merging ${name}`)));
    if (!flags.json) io.stdout(`removed ${plain(name)}\n`);
  });
  if (flags.json) printJson(io, { removed });
}

/** What goes as well needs no merge, and no room for one. */
async function childrenFirst(names: readonly string[], store: CheckpointStore): Promise<string[]> {
  const all = await store.list();
  const depths = new Map(names.map((name) => [name, depthOf(name, all)]));
  return [...names].sort((a, b) => depths.get(b)! - depths.get(a)!);
}

function depthOf(nameOrId: string, all: readonly Manifest[]): number {
  let depth = 0;
  let at = all.find(({ name, id }) => name === nameOrId || id === nameOrId);
  for (; at !== undefined && depth < all.length; depth++) {
    const { parent } = at;
    at = all.find(({ id }) => id === parent);
  }
  return depth;
}

async function verify(names: string[], flags: StoreFlags, io: Io): Promise<void> {
  const store = await openStore(flags, io);
  const all = await store.list();
  const broken = names.length === 0 ? await store.broken() : [];
  const wanted = names.length === 0 ? all.map(({ name }) => name) : names;
  const results: { name: string; ok: boolean; error?: { code: string; message: string } }[] =
    broken.map(({ name, reason }) => ({
      name,
      ok: false,
      error: { code: 'MAYFLY_CHECKPOINT_DAMAGED', message: reason },
    }));
  await withProgress(async (progress) => {
    const onBytes = progress.counter('verifying', await verifyBytes(store, wanted));
    const verified = new Set<string>(); // parents and layers that several have
    for (const name of wanted) results.push(await verifyOne(store, name, onBytes, verified));
  });
  if (results.some(({ ok }) => !ok)) process.exitCode = 1;
  if (flags.json) return printJson(io, { results });
  for (const { name, ok, error } of results) {
    if (ok) io.stdout(`${plain(name)} is right\n`);
    else printError(io, new MayflyError(error!.code, `${plain(name)}: ${error!.message}`));
  }
  if (results.length === 0) io.stdout('no checkpoints\n');
}

/** What all of them are made of, together. */
async function verifyBytes(store: CheckpointStore, names: readonly string[]): Promise<number> {
  const { exportBytes } = await library();
  const manifests = new Map<string, Manifest>();
  const layers = new Map<string, Layer>();
  for (const name of names) {
    const lineage = await store.get(name).then(
      (m) => store.lineage(m),
      () => [],
    ); // told later
    for (const m of lineage) {
      manifests.set(m.id, m);
      for (const layer of m.layers) layers.set(layer.digest, layer);
    }
  }
  return exportBytes([...manifests.values()], [...layers.values()]);
}

async function verifyOne(
  store: CheckpointStore,
  name: string,
  onBytes: (bytes: number) => void,
  verified: Set<string>,
) {
  try {
    await store.verify(name, onBytes, verified);
    return { name, ok: true };
  } catch (error) {
    if (!(error instanceof MayflyError)) throw error;
    return { name, ok: false, error: { code: error.code, message: error.message } };
  }
}

/* ---- export, import ---- */

const EXPORT_HELP = `
The file is a tar archive with the checkpoint, those that it is a difference to, and the
images of its root file system; \`mayfly checkpoint import\` takes it in on another host. A
name that ends in .gz or .tgz is compressed. FILE "-" is stdout.

Examples:
  mayfly checkpoint export app app.tgz
  mayfly checkpoint export app - | ssh host mayfly checkpoint import -
`;

interface ExportFlags extends StoreFlags {
  flatten?: boolean;
  layers: boolean;
}

function addExport(checkpoint: Command, io: Io): void {
  ofStore(checkpoint.command('export').argument('<name>').argument('<file>', '"-" is stdout'))
    .description('Write a checkpoint with all that it needs to one file.')
    .option('--flatten', 'one whole checkpoint, without the ones that it is a difference to')
    .option('--no-layers', 'leave the images out: it can only be imported where they are')
    .addHelpText('after', EXPORT_HELP)
    .action((name: string, file: string, flags: ExportFlags, command: Command) => {
      if (file === '-' && flags.json)
        command.error('error: --json and the file cannot share stdout');
      if (file === '-' && process.stdout.isTTY) {
        command.error('error: this is no text for a terminal: give a file, or a pipe');
      }
      return exportTo(name, file, flags, io);
    });
}

async function exportTo(name: string, file: string, flags: ExportFlags, io: Io): Promise<void> {
  const store = await openStore(flags, io);
  const { exportBytes, exportCheckpoint } = await library();
  const manifest = await store.get(name);
  if (file !== '-') await checkIsNoFolder(file);
  const lineage = await store.lineage(manifest);
  const total = exportBytes(lineage, flags.layers ? manifest.layers : []);
  const bytes = await withProgress(async (progress) => {
    const chunks = exportCheckpoint(store, name, {
      flatten: flags.flatten ?? false,
      layers: flags.layers,
      onBytes: progress.counter(`exporting ${name}`, total),
    });
    return file === '-' ? toStdout(chunks) : toFile(chunks, resolve(file));
  });
  if (file === '-') return;
  const checkpoints = (flags.flatten ? [manifest] : lineage).map((m) => m.name);
  if (flags.json) return printJson(io, { file: resolve(file), bytes, checkpoints });
  io.stdout(`exported ${checkpoints.join(', ')} to ${file} (${formatSize(bytes)})\n`);
}

async function checkIsNoFolder(file: string): Promise<void> {
  const found = await stat(file).catch(() => undefined);
  if (!found?.isDirectory()) return;
  throw new MayflyError('MAYFLY_FILE', `cannot write ${file}: it is a folder; name a file in it`);
}

async function toStdout(chunks: AsyncIterable<Uint8Array>): Promise<number> {
  try {
    await pipeline(chunks, process.stdout, { end: false });
  } catch (cause) {
    if (cause instanceof MayflyError) throw cause;
    if ((cause as NodeJS.ErrnoException).code === 'EPIPE') {
      process.exitCode = EXIT_PIPE;
      return 0;
    }
    throw new MayflyError('MAYFLY_OUTPUT_CLOSED', `stdout: ${(cause as Error).message}`, { cause });
  }
  return 0;
}

/** What they leave half-done in a store is swept by the next command; a folder of the user's is swept by nobody. */
const INTERRUPTIONS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The name appears with the whole file behind it, or the old one stays. */
async function toFile(chunks: AsyncIterable<Uint8Array>, path: string): Promise<number> {
  const durable = await import('@mayfly/image/durable');
  const zip = /\.(gz|tgz)$/.test(path) ? createGzip() : new PassThrough();
  const interruption = new AbortController();
  const interrupt = (signal: NodeJS.Signals) => interruption.abort(signal);
  for (const signal of INTERRUPTIONS) process.once(signal, interrupt);
  try {
    await durable.createFile(dirname(path), async (temporary) => {
      const { signal } = interruption;
      await pipeline(chunks, zip, createWriteStream(temporary, { mode: 0o600 }), { signal });
      await durable.sync(temporary);
      return basename(path);
    });
    return (await stat(path)).size;
  } catch (cause) {
    for (const signal of INTERRUPTIONS) process.off(signal, interrupt);
    if (interruption.signal.aborted) process.kill(process.pid, interruption.signal.reason);
    if (cause instanceof MayflyError) throw cause;
    throw unwritable(path, cause);
  } finally {
    for (const signal of INTERRUPTIONS) process.off(signal, interrupt);
  }
}

function addImport(checkpoint: Command, io: Io): void {
  examples(
    ofStore(checkpoint.command('import').argument('<file>', '"-" is stdin')).addHelpText(
      'after',
      '\nAll of it is checked before any of it appears.',
    ),
    'mayfly checkpoint import py.checkpoint --name py2',
    'ssh host mayfly checkpoint export py - | mayfly checkpoint import -',
  )
    .description('Take in a file of `mayfly checkpoint export`, gzip and zstd too.')
    .option('--name <name>', 'another name than it had')
    .action((file: string, flags: StoreFlags & { name?: string }) => importFrom(file, flags, io));
}

async function importFrom(
  file: string,
  flags: StoreFlags & { name?: string },
  io: Io,
): Promise<void> {
  const { checkCheckpointName, importCheckpoint } = await library();
  if (flags.name !== undefined) checkCheckpointName(flags.name);
  const store = await openStore(flags, io);
  const dropped: string[] = [];
  const total = file === '-' ? undefined : (await stat(file).catch(() => undefined))?.size;
  const imported = await withProgress((progress) =>
    importCheckpoint(store, bytesOf(file, progress.counter('importing', total)), {
      ...(flags.name !== undefined && { name: flags.name }),
      onNetwork: (name, rules) => dropped.push(`${name} ${rules.join(' ')}`),
    }),
  );
  for (const rules of dropped) {
    io.stderr(`mayfly: note: not taken over, what it may connect to: ${plain(rules)}\n`);
  }
  if (flags.json) return printJson(io, { imported });
  for (const { name, id } of imported) io.stdout(`imported ${name} (${id})\n`);
}

/** Errors of reading say which file. */
async function* bytesOf(
  file: string,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of file === '-' ? process.stdin : createReadStream(file)) {
      onBytes(chunk.length);
      yield chunk;
    }
  } catch (cause) {
    throw unreadable(file, cause);
  }
}
