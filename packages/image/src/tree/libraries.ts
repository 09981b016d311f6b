import { readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import { parseLdCache } from '../elf/ld-cache.js';
import { type Elf, parseElfFile } from '../elf/parser.js';
import { parseElfOf } from './elf-source.js';
import type { HostRoot } from './host.js';
import type { Tree } from './tree.js';

const LIB_DIR = 'lib/x86_64-linux-gnu';
/** Where glibc's ld.so looks last: Debian's and Fedora's built-in folders. */
const GLIBC_DIRS = [`/${LIB_DIR}`, `/usr/${LIB_DIR}`, '/lib64', '/usr/lib64', '/lib', '/usr/lib'];
const MUSL_DIRS = ['/lib', '/usr/local/lib', '/usr/lib'];
/** Names that musl's loader serves itself (its ldso/dynlink.c calls them reserved). */
const MUSL_OWN = /^lib(c|pthread|rt|m|dl|util|xnet)\./;

/** A program or library whose needs are to be met. */
export interface Dependent {
  /** Its guest path, for messages. */
  path: string;
  elf: Elf;
  /** What $ORIGIN means in it: the folder it is started or loaded from. */
  origin: string;
}

/** A file of the closure, and who asked for it. */
interface Loaded extends Dependent {
  loader: Loaded | undefined;
}

interface Search {
  tree: Tree;
  host: HostRoot;
  musl: boolean;
  cache: Map<string, string>;
}

/**
 * Adds the libraries that a program needs, and those that they need, found the way its dynamic loader will find them: glibc's
 * ld.so(8), or musl's. What is in the tree already counts as found, before the host's.
 * Throws MAYFLY_ELF_NO_LIBRARY.
 */
export function addLibraries(tree: Tree, host: HostRoot, program: Dependent): void {
  if (program.elf.needed.length === 0) return;
  const interp = program.elf.interp ?? '';
  const musl = posix.basename(interp).startsWith('ld-musl-');
  const search: Search = { tree, host, musl, cache: musl ? new Map() : readCache(host) };
  const queue: Loaded[] = [{ ...program, loader: undefined }];
  // The loader itself is one of the libraries (libc.so.6 needs ld-linux by name) and it is in memory already.
  const known = new Set([posix.basename(interp)]);
  for (let next = 0; next < queue.length; next++) {
    const file = queue[next]!;
    for (const name of file.elf.needed) {
      if (known.has(name) || (musl && MUSL_OWN.test(name))) continue;
      known.add(name);
      const library = addLibrary(search, file, name);
      if (library.elf.soname !== undefined) known.add(library.elf.soname);
      queue.push(library);
    }
  }
}

/** One image asks for the libraries of hundreds of modules, so the host's cache is parsed once. */
const caches = new WeakMap<HostRoot, Map<string, string>>();

function readCache(host: HostRoot): Map<string, string> {
  const known = caches.get(host);
  if (known !== undefined) return known;
  const file = host.file('/etc/ld.so.cache');
  const cache = file === undefined ? new Map() : parseLdCache(readFileSync(file.hostPath));
  caches.set(host, cache);
  return cache;
}

function addLibrary(search: Search, file: Loaded, name: string): Loaded {
  const candidates = name.includes('/') ? [expand(name, file)] : candidatesOf(search, file, name);
  for (const path of candidates) {
    const elf = tryLibrary(search, path);
    if (elf !== undefined) return { path, elf, origin: posix.dirname(path), loader: file };
  }
  const places = [...new Set(candidates.map((path) => posix.dirname(path)))].join(', ');
  throw new MayflyError(
    'MAYFLY_ELF_NO_LIBRARY',
    `${name}, which ${file.path} needs, was not found; looked in ${places}`,
  );
}

/** Paths to try, in ld.so's order: RPATH (own, then the loaders'), RUNPATH, the cache, the built-in folders. */
function candidatesOf(search: Search, file: Loaded, name: string): string[] {
  const dirs = [...rpathDirs(search, file), ...dirsOf(file.elf.runpath, file)];
  const cached = search.cache.get(name);
  return [
    ...dirs.map((dir) => posix.join(dir, name)),
    ...(cached === undefined ? [] : [cached]),
    ...(search.musl ? muslDirs(search.host) : GLIBC_DIRS).map((dir) => posix.join(dir, name)),
  ];
}

/** glibc ignores all RPATHs for a file that has a RUNPATH, and each loader's RPATH beside its RUNPATH; musl has one list. */
function rpathDirs({ musl }: Search, file: Loaded): string[] {
  if (file.elf.runpath !== undefined && !musl) return [];
  const dirs: string[] = [];
  for (let at: Loaded | undefined = file; at !== undefined; at = at.loader) {
    const list = musl
      ? at === file
        ? at.elf.rpath
        : (at.elf.runpath ?? at.elf.rpath)
      : at.elf.rpath;
    if (musl || at.elf.runpath === undefined) dirs.push(...dirsOf(list, at));
  }
  return dirs;
}

/** Relative folders would depend on where the program is started, so they are left out. */
function dirsOf(list: string | undefined, file: Loaded): string[] {
  return (list ?? '')
    .split(':')
    .map((dir) => expand(dir, file))
    .filter((dir) => dir.startsWith('/'));
}

function expand(text: string, file: Loaded): string {
  return text
    .replace(/\$(ORIGIN|\{ORIGIN\})/g, () => file.origin)
    .replace(/\$(LIB|\{LIB\})/g, LIB_DIR)
    .replace(/\$(PLATFORM|\{PLATFORM\})/g, 'x86_64');
}

function muslDirs(host: HostRoot): string[] {
  const file = host.file('/etc/ld-musl-x86_64.path');
  if (file === undefined) return MUSL_DIRS;
  return readFileSync(file.hostPath, 'utf8')
    .split(/[:\n]/)
    .filter((dir) => dir.startsWith('/'));
}

/**
 * The library at a path, put into the tree; undefined when there is none. ld.so passes over files of another architecture and
 * over linker scripts; damage stops it.
 */
function tryLibrary({ tree, host }: Search, path: string): Elf | undefined {
  const known = tree.get(tree.resolveParents(posix.normalize(path)));
  try {
    if (known?.type === 'file') return parseElfOf(known.source, path);
    const walk = host.file(path);
    if (walk === undefined) return undefined;
    const elf = parseElfFile(walk.hostPath);
    host.addTo(tree, walk);
    return elf;
  } catch (error) {
    const code = error instanceof MayflyError ? error.code : '';
    if (code === 'MAYFLY_ELF_WRONG_ARCH' || code === 'MAYFLY_ELF_NOT_ELF') return undefined;
    throw error;
  }
}
