import { closeSync, openSync, readSync } from 'node:fs';
import { posix } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import { looksLikeElf, parseElfFile } from '../elf/parser.js';
import { Pacer } from '../pacer.js';
import { parseElfOf } from './elf-source.js';
import { addFolder, type Owner, unreadable } from './folder.js';
import { HostRoot, type HostWalk } from './host.js';
import { addHostData, isModule } from './host-data.js';
import { addLibraries } from './libraries.js';
import type { Sightings } from './sightings.js';
import { addSkeleton } from './skeleton.js';
import { type Entry, PLAIN_DIR, Tree } from './tree.js';

/** As in Linux, where an interpreter may itself be a script. */
const SCRIPT_DEPTH_MAX = 5;
const SCRIPT_LINE_BYTES_MAX = 256;
const DEFAULT_PATH = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
];

/** A program (or a library that is opened by name at run time), by its absolute path, which is the same in the guest. */
export interface Program {
  path: string;
}

/**
 * A file put into the image as it is: bytes (mode 0644 unless given), or a host file or folder. Replaces what is there. With
 * `libraries`, the ELF files in it (a language's native modules) bring the libraries that they need, as far as the host has
 * them; packages ship modules for many systems, so the others are left as they are.
 */
export type Extra = { guestPath: string } & (
  | { hostPath: string; libraries?: boolean }
  | { bytes: Uint8Array; mode?: number }
);

export interface ProgramsOptions {
  extra?: Extra[];
  /** Guest paths of what comes with the programs that are left out. */
  without?: RegExp;
  /** Default root, so that the same programs give the same image whoever installed them. */
  owner?: Owner;
  /** The host folder that is taken for '/'; default '/'. */
  root?: string;
  /** Told of all that is looked at on the host. */
  sightings?: Sightings;
}

/**
 * A bootable root for host programs: each at its path with its dynamic loader and all libraries, symbolic links kept, a
 * script with its interpreter, the extra files, the data that `host-data.ts` lists for them (an interpreter's own library,
 * certificates, time zones), and the base files that Linux programs expect.
 *
 * Throws MAYFLY_IMAGE_NO_FILE, MAYFLY_IMAGE_UNREADABLE, MAYFLY_ELF_NOT_ELF, MAYFLY_ELF_WRONG_ARCH, MAYFLY_ELF_DAMAGED,
 * MAYFLY_ELF_NO_INTERPRETER, MAYFLY_ELF_NO_LIBRARY.
 */
export async function treeFromPrograms(
  programs: Program[],
  options: ProgramsOptions = {},
): Promise<Tree> {
  const owner = options.owner ?? { uid: 0, gid: 0 };
  const host = new HostRoot(options.root ?? '/', owner, options.sightings);
  const tree = new Tree();
  for (const { path } of programs) addProgram(tree, host, path, 0);
  for (const extra of options.extra ?? []) await addExtra(tree, host, extra, owner);
  await addHostData(tree, host, owner, options.without);
  const before = tree.size;
  await addModuleLibraries(tree, host, '/', isModule);
  if (tree.size > before) await addHostData(tree, host, owner, options.without);
  addSkeleton(tree);
  return tree;
}

async function addExtra(tree: Tree, host: HostRoot, extra: Extra, owner: Owner): Promise<void> {
  const at = tree.resolveParents(extra.guestPath);
  if ('bytes' in extra) {
    const source = { kind: 'bytes', bytes: extra.bytes } as const;
    tree.add({ path: at, ...PLAIN_DIR, mode: extra.mode ?? 0o644, type: 'file', source });
    return;
  }
  await addFolder(tree, extra.hostPath, { at, owner });
  if (extra.libraries === true) await addModuleLibraries(tree, host, at, () => true);
}

async function addModuleLibraries(
  tree: Tree,
  host: HostRoot,
  at: string,
  wanted: (entry: Entry) => boolean,
): Promise<void> {
  const pacer = new Pacer();
  for (const entry of [...tree.entries(at)]) {
    if (entry.type !== 'file' || entry.source.kind !== 'host' || !wanted(entry)) continue;
    await pacer.pause();
    if (!looksLikeElf(readFileStart(entry.source.hostPath))) continue;
    try {
      const elf = parseElfOf(entry.source, entry.path);
      addLibraries(tree, host, { path: entry.path, elf, origin: posix.dirname(entry.path) });
    } catch (error) {
      if (!(error instanceof MayflyError && error.code.startsWith('MAYFLY_ELF_'))) throw error;
    }
  }
}

function addProgram(tree: Tree, host: HostRoot, path: string, depth: number): void {
  const walk = host.file(path);
  if (walk === undefined) {
    throw new MayflyError('MAYFLY_IMAGE_NO_FILE', `there is no program ${path} on this host`);
  }
  host.addTo(tree, walk);
  const start = readFileStart(walk.hostPath);
  if (start.toString('latin1', 0, 2) === '#!') addInterpreters(tree, host, path, start, depth);
  else addElf(tree, host, path, walk, start);
}

/** The first bytes of a host file. Throws MAYFLY_IMAGE_UNREADABLE. */
export function readFileStart(hostPath: string, size: number = SCRIPT_LINE_BYTES_MAX): Buffer {
  try {
    const fd = openSync(hostPath, 'r');
    try {
      const bytes = Buffer.alloc(size);
      return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, 0));
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw unreadable(hostPath, error);
  }
}

function addElf(tree: Tree, host: HostRoot, path: string, walk: HostWalk, start: Buffer): void {
  if (!looksLikeElf(start)) {
    throw new MayflyError(
      'MAYFLY_ELF_NOT_ELF',
      `${path} is neither an ELF program nor a script that names its interpreter (#!)`,
    );
  }
  const elf = parseElfFile(walk.hostPath);
  if (elf.interp !== undefined) host.addTo(tree, findInterpreter(host, path, elf.interp));
  addLibraries(tree, host, { path, elf, origin: posix.dirname(walk.realPath) });
}

function findInterpreter(host: HostRoot, path: string, interp: string): HostWalk {
  const walk = posix.isAbsolute(interp) ? host.file(interp) : undefined;
  if (walk !== undefined) return walk;
  throw new MayflyError(
    'MAYFLY_ELF_NO_INTERPRETER',
    `${path} is started by the dynamic loader ${interp}, which is not on this host`,
  );
}

/** Adds what a '#!' line starts; for '/usr/bin/env name', the named program too. */
function addInterpreters(
  tree: Tree,
  host: HostRoot,
  path: string,
  start: Buffer,
  depth: number,
): void {
  const line = start.toString('utf8', 2).split('\n', 1)[0]!;
  const [interpreter = '', ...args] = line.trim().split(/[ \t]+/);
  if (depth >= SCRIPT_DEPTH_MAX || host.file(interpreter) === undefined) {
    throw new MayflyError(
      'MAYFLY_ELF_NO_INTERPRETER',
      depth >= SCRIPT_DEPTH_MAX
        ? `${path} is a script whose interpreters lead in circles`
        : `${path} is a script for ${interpreter || 'no program'}, which is not on this host`,
    );
  }
  addProgram(tree, host, interpreter, depth + 1);
  if (posix.basename(interpreter) === 'env') addByName(tree, host, path, args, depth);
}

function addByName(tree: Tree, host: HostRoot, path: string, args: string[], depth: number): void {
  const name = args.find((arg) => !arg.startsWith('-') && !arg.includes('='));
  if (name === undefined) return;
  const places = DEFAULT_PATH.map((dir) => posix.join(dir, name));
  const found = name.includes('/') ? name : places.find((place) => host.file(place) !== undefined);
  if (found === undefined) {
    throw new MayflyError(
      'MAYFLY_ELF_NO_INTERPRETER',
      `${path} is a script for ${name}, which is in none of ${DEFAULT_PATH.join(', ')}`,
    );
  }
  addProgram(tree, host, found, depth + 1);
}
