/** mayfly image: build, list, look into and remove the images that `mayfly run --image` takes. */
import type { ImageLibrary, ImageRecord, NamedImage } from '@mayfly/image';
import { type Command, Option } from 'commander';
import { examples } from '../examples.js';
import { type Io, plain, printJson, removeEach, table } from '../output.js';
import { Progress } from '../progress.js';
import { formatSize, repeated } from '../units.js';

const DIGEST_SHOWN = 12;

interface Flags {
  json?: boolean;
}

export function addImage(program: Command, io: Io): void {
  const image = program
    .command('image')
    .description('Build, list, inspect and remove images for `mayfly run --image`.')
    .enablePositionalOptions();
  addBuild(image, io);
  examples(image.command('ls'), 'mayfly image ls')
    .alias('list')
    .description('List the images that have a name.')
    .option('--json', 'print JSON')
    .action((flags: Flags) => list(flags, io));
  examples(image.command('inspect'), 'mayfly image inspect alpine')
    .argument('<image>', 'a name, or a digest or its beginning')
    .description('Show layers, size, entry point and environment of an image.')
    .option('--json', 'print JSON')
    .action((reference: string, flags: Flags) => inspect(reference, flags, io));
  examples(
    image
      .command('rm')
      .addHelpText('after', '\nMachines that run keep what they have open until they end.'),
    'mayfly image rm alpine',
    'mayfly image rm --unnamed',
  )
    .alias('remove')
    .argument('[images...]', 'names, or digests or their beginnings')
    .description('Remove images, and their layers unless another image has them.')
    .option('--unnamed', 'remove the layers that no named image has: what runs made for themselves')
    .option('--json', 'print JSON')
    .action((images: string[], flags: Flags & { unnamed?: boolean }, command: Command) => {
      if ((images.length === 0) !== (flags.unnamed === true)) {
        command.error('error: name images, or give --unnamed');
      }
      return flags.unnamed ? removeUnnamed(flags, io) : remove(images, flags, io);
    });
}

const BUILD_HELP = `
SOURCE is a folder, a tar file (gzip and zstd too), an archive of \`docker save\`, an OCI image
layout or its tar file, or an EROFS image. With --program the image has programs of this host
with their libraries and data instead, and runs the first of them.

Examples:
  mayfly image build app ./rootfs
  docker save alpine | gzip > alpine.tar.gz; mayfly image build alpine alpine.tar.gz
  mayfly image build tools --program python3 --program busybox
`;

interface BuildFlags extends Flags {
  program: string[];
}

function addBuild(image: Command, io: Io): void {
  image
    .command('build')
    .argument('<name>', 'letters, digits and . _ : -')
    .argument('[source]', 'a folder or a file')
    .description('Build an image and give it a name.')
    .addOption(
      new Option('--program <program>', 'a program of this host (repeatable)')
        .argParser(repeated)
        .default([], 'none'),
    )
    .option('--json', 'print JSON')
    .addHelpText('after', BUILD_HELP)
    .action((name: string, source: string | undefined, flags: BuildFlags, command: Command) => {
      if ((source === undefined) === (flags.program.length === 0)) {
        command.error('error: give one source, or programs with --program');
      }
      return build(name, source, flags, io);
    });
}

async function open(): Promise<ImageLibrary> {
  const { defaultImageDir, ImageLibrary } = await import('@mayfly/image');
  return ImageLibrary.open(defaultImageDir());
}

async function build(
  name: string,
  source: string | undefined,
  flags: BuildFlags,
  io: Io,
): Promise<void> {
  const { checkImageName } = await import('@mayfly/image');
  checkImageName(name); // before anything is built
  const library = await open();
  const progress = new Progress(process.stderr);
  let record: ImageRecord;
  try {
    record =
      source === undefined
        ? await fromPrograms(library, flags.program, progress, io)
        : await library.import(source, (step) => progress.show(step));
  } finally {
    progress.end();
  }
  const named = await library.setName(name, record, source ?? flags.program.join(' '));
  for (const note of record.notes ?? []) io.stderr(`mayfly: note: ${plain(note)}\n`);
  if (flags.json) return printJson(io, await described(library, named));
  const size = formatSize(await sizeOf(library, named));
  io.stdout(`built ${name}: ${record.layers.map(short).join(' ')} (${size})\n`);
}

async function fromPrograms(
  library: ImageLibrary,
  names: string[],
  progress: Progress,
  io: Io,
): Promise<ImageRecord> {
  const { findHostProgram, PATH_DEFAULT, treeFromPrograms } = await import('@mayfly/image');
  const paths = names.map((name) => findHostProgram(name, io.env.PATH ?? PATH_DEFAULT));
  const tree = await treeFromPrograms(paths.map((path) => ({ path })));
  const onProgress = (doneBytes: number, totalBytes: number) =>
    progress.show({ step: 'write', doneBytes, totalBytes });
  const { digest } = await library.store.build(tree, { onProgress });
  const config = { entrypoint: [paths[0]!], cmd: [], env: {}, cwd: '', user: '' };
  return { layers: [digest], config };
}

async function list(flags: Flags, io: Io): Promise<void> {
  const library = await open();
  const images = await Promise.all(
    (await library.listNames()).map((image) => described(library, image)),
  );
  if (flags.json) return printJson(io, { images });
  if (images.length === 0) return io.stdout('no images\n');
  const row = ({ name, layers, size, createdAt, source }: (typeof images)[number]) => [
    name ?? '',
    layers.map(({ digest }) => short(digest)).join(' '),
    formatSize(size),
    createdAt ?? '',
    plain(source ?? ''),
  ];
  io.stdout(table([['NAME', 'LAYERS', 'SIZE', 'CREATED', 'SOURCE'], ...images.map(row)]));
}

async function inspect(reference: string, flags: Flags, io: Io): Promise<void> {
  const library = await open();
  const image = await described(library, await library.findRecord(reference));
  if (flags.json) return printJson(io, image);
  const { name, source, createdAt, layers, size, config, notes = [] } = image;
  const env = Object.entries(config?.env ?? {}).map(([key, value]) => `${key}=${value}`);
  const lines: [label: string, ...values: string[]][] = [
    ['name', name ?? '(none)'],
    ['source', source ?? '(unknown)'],
    ['created', createdAt ?? '(unknown)'],
    ['size', formatSize(size)],
    ['layers', ...layers.map((layer) => `${layer.digest} ${layerText(layer)}`)],
    ['entry point', JSON.stringify([...(config?.entrypoint ?? []), ...(config?.cmd ?? [])])],
    ['environment', ...env],
    ['directory', config?.cwd || '/'],
    ['user', config?.user || 'root'],
    ['notes', ...notes],
  ];
  const rows = lines.flatMap(([label, ...values]) =>
    values.map((value, i) => [i === 0 ? label : '', plain(value)]),
  );
  io.stdout(table(rows));
}

function layerText({
  size,
  files,
}: {
  size: number | undefined;
  files: number | undefined;
}): string {
  return size === undefined ? '(removed)' : `${formatSize(size)}, ${files} files`;
}

async function remove(images: string[], flags: Flags, io: Io): Promise<void> {
  const library = await open();
  const layers: string[] = [];
  const removed = await removeEach(images, io, async (image) => {
    const gone = await library.removeImage(image);
    layers.push(...gone);
    if (!flags.json) io.stdout(`removed ${image}\n${layerLines(gone)}`);
  });
  if (flags.json) printJson(io, { removed, layers });
}

async function removeUnnamed(flags: Flags, io: Io): Promise<void> {
  const library = await open();
  const layers = (await library.removeUnnamed()).map(({ digest }) => digest);
  if (flags.json) printJson(io, { removed: [], layers });
  else io.stdout(layerLines(layers));
}

function layerLines(digests: string[]): string {
  return digests.map((digest) => `removed layer ${short(digest)}\n`).join('');
}

/** A record with what is known of its layers; a layer that is gone has no size. */
async function described(library: ImageLibrary, record: ImageRecord & Partial<NamedImage>) {
  const layers = await Promise.all(
    record.layers.map(async (digest) => {
      const found = await library.store.get(digest);
      const files = found && (await library.store.inspect(digest)).entries.length;
      return { digest, path: found?.path, size: found?.size, files };
    }),
  );
  return { ...record, layers, size: layers.reduce((sum, { size = 0 }) => sum + size, 0) };
}

async function sizeOf(library: ImageLibrary, record: ImageRecord): Promise<number> {
  return (await described(library, record)).size;
}

function short(digest: string): string {
  return digest.slice(0, DIGEST_SHOWN);
}
