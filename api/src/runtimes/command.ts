/** A deployment's command: a program among its files, or an interpreter of this host. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { type Elf, type Extra, findHostProgram, parseElf } from '@mayfly/image';
import { MayflyError } from '@mayfly/protocol';
import { ApiError } from '../errors.js';
import { GUEST_PATHS, type Layers } from '../layers.js';
import { withModules } from './modules.js';
import type { Source, SourceFile } from './runtime.js';

/** Of the host, since servers and filters are written for them. Nothing else of the host is offered to functions. */
const INTERPRETERS = new Set(['node', 'python3']);

const HOST_HAS = `of this host there are ${[...INTERPRETERS].join(' and ')}`;

/** Which of them scripts are for, by their first line or their name. */
const SCRIPTS: [sign: RegExp, interpreter: string][] = [
  [/\.[cm]?js$|\bnode\b/, 'node'],
  [/\.py$|\bpython/, 'python3'],
];

/** The absolute path of `node` or `python3` on this host. @throws ApiError MAYFLY_RUNTIME_MISSING */
export function hostInterpreter(name: string, path = process.env.PATH ?? ''): string {
  if (name === 'node') return process.execPath;
  try {
    return findHostProgram(name, `/usr/bin:${path}`);
  } catch (cause) {
    throw new ApiError('MAYFLY_RUNTIME_MISSING', `there is no ${name} on this host`, { cause });
  }
}

export interface Command {
  argv: string[];
  images: string[];
  /** The program, if it is one of the files. */
  own: SourceFile | undefined;
}

/**
 * The guest's argv and images. `name`: the program that is started without a command or entry.
 *
 * @throws ApiError MAYFLY_SOURCE_INVALID, MAYFLY_RUNTIME_MISSING
 */
export async function commandOf(
  { files, command, entry }: Source,
  layers: Layers,
  name: string,
  extra: Extra[] = [],
): Promise<Command> {
  const [program = '', ...args] = command ?? [entry ?? onlyFile(files) ?? name];
  const path = posix.normalize(program);
  const own = files.get(path);
  if (own === undefined && !INTERPRETERS.has(program)) {
    throw invalid(`the program ${program} is not among the files; ${HOST_HAS}`);
  }
  if (own === undefined) {
    const interpreter = hostInterpreter(program);
    const base = await withModules(files, (modules) =>
      layers.programs([interpreter], [...extra, ...modules]),
    );
    return { argv: [interpreter, ...args], images: [base, await layers.files(files)], own };
  }
  const base = await baseFor(path, own, layers, extra);
  const executable = new Map(files).set(path, { ...own, executable: true });
  const images = [base, await layers.files(executable)];
  return { argv: [join(GUEST_PATHS.function, path), ...args], images, own };
}

function onlyFile(files: Source['files']): string | undefined {
  const [first, ...more] = files.keys();
  return more.length === 0 ? first : undefined;
}

/** What a program needs of this host: its dynamic loader and libraries, if it has any. */
async function baseFor(
  path: string,
  { bytes }: SourceFile,
  layers: Layers,
  extra: Extra[],
): Promise<string> {
  const { interp } = elfOf(path, bytes);
  if (interp === undefined) return layers.programs([], extra);
  const folder = await mkdtemp(join(tmpdir(), 'mayfly-program-'));
  try {
    const hostPath = join(folder, 'program');
    await writeFile(hostPath, bytes);
    const guestPath = join(GUEST_PATHS.function, path);
    return await layers.programs([interp], [...extra, { guestPath, hostPath, libraries: true }]);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function elfOf(path: string, bytes: Uint8Array): Elf {
  const [firstLine = ''] = Buffer.from(bytes.subarray(0, 256)).toString('latin1').split('\n', 1);
  const isScript = firstLine.startsWith('#!');
  const interpreter = SCRIPTS.find(([name]) => name.test(isScript ? firstLine : path))?.[1];
  if (interpreter) {
    const command = JSON.stringify([interpreter, path]);
    throw invalid(`${path} is a script; name its interpreter: "command": ${command}`);
  }
  if (isScript) throw invalid(`${path} is a script of ${firstLine.slice(2)}; ${HOST_HAS}`);
  try {
    return parseElf(bytes, path);
  } catch (error) {
    if (error instanceof MayflyError && error.code.startsWith('MAYFLY_ELF_')) {
      throw invalid(`${error.message}; a program is an ELF file for x86-64 Linux`);
    }
    throw error;
  }
}

const invalid = (why: string) => new ApiError('MAYFLY_SOURCE_INVALID', why);
