import { posix } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import { looksLikeElf } from '../elf/parser.js';
import { parseElfOf } from '../tree/elf-source.js';
import type { ImageRoot, RootEntry } from './image-root.js';

/** As in Linux, where an interpreter may itself be a script. */
const SCRIPT_DEPTH_MAX = 5;
const SCRIPT_LINE_BYTES_MAX = 256;
const X_BITS = 0o111;

export const PATH_DEFAULT = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What a machine starts: an ELF program of the guest's root, and its arguments, the first being its own name. */
export interface ProgramStart {
  program: string;
  argv: string[];
}

interface Names {
  /** PATH of the program's environment. */
  path?: string | undefined;
  cwd?: string;
}

/**
 * Finds what execvp(3) would start in a root: the program in PATH, and for a script its interpreter, as a guest starts one
 * program only. `#!/usr/bin/env NAME` is looked up here for the same reason.
 * Throws MAYFLY_PROGRAM_UNKNOWN, MAYFLY_PROGRAM_NOT_EXECUTABLE, MAYFLY_ELF_NOT_ELF, MAYFLY_ELF_WRONG_ARCH,
 * MAYFLY_ELF_NO_INTERPRETER.
 */
export function findStart(
  root: ImageRoot,
  name: string,
  args: readonly string[],
  names: Names = {},
): ProgramStart {
  let program = findProgram(root, name, names);
  let argv = [name, ...args];
  for (let depth = 0; ; depth++) {
    const { entry } = program;
    const start = entry.readStart(SCRIPT_LINE_BYTES_MAX);
    if (start.toString('latin1', 0, 2) !== '#!') {
      checkElf(root, program.path, entry);
      return { program: program.path, argv };
    }
    if (depth >= SCRIPT_DEPTH_MAX) {
      throw noInterpreter(`${program.path} is a script whose interpreters lead in circles`);
    }
    const command = interpreterOf(program.path, start);
    argv = [...command, program.path, ...argv.slice(1)];
    program = findInterpreter(root, program.path, command[0]!, names);
  }
}

/** The words of a '#!' line: interpreter and at most one argument; of an env line, what env would start. */
function interpreterOf(path: string, start: Buffer): string[] {
  const line = start.toString('utf8', 2).split('\n', 1)[0]!.trim();
  const [, interpreter = '', argument = ''] = /^(\S*)\s*(.*)$/.exec(line) ?? [];
  if (interpreter === '') throw noInterpreter(`${path} is a script that names no interpreter`);
  if (posix.basename(interpreter) !== 'env' || argument === '') {
    return argument === '' ? [interpreter] : [interpreter, argument];
  }
  const words = argument.startsWith('-S') ? argument.slice(2).trim().split(/\s+/) : [argument];
  const simple = words[0] !== '' && !words[0]!.startsWith('-') && !words[0]!.includes('=');
  if (simple) return words;
  throw noInterpreter(`${path} starts with an env line that Mayfly cannot follow: ${line}`);
}

interface Program {
  /** As the guest names it. */
  path: string;
  entry: RootEntry;
}

function findProgram(root: ImageRoot, name: string, { path, cwd = '/' }: Names): Program {
  const places = name.includes('/')
    ? [posix.resolve(cwd, name)]
    : (path ?? PATH_DEFAULT).split(':').map((dir) => posix.resolve(cwd, dir, name));
  let blocked: string | undefined;
  for (const place of places) {
    const entry = root.find(place);
    if (entry?.entry.type !== 'file') continue;
    if ((entry.entry.mode & X_BITS) !== 0) return { path: place, entry };
    blocked ??= place;
  }
  if (blocked !== undefined) {
    throw new MayflyError('MAYFLY_PROGRAM_NOT_EXECUTABLE', `${blocked} is not executable`);
  }
  const where = name.includes('/') ? '' : ` in PATH (${path ?? PATH_DEFAULT})`;
  throw new MayflyError(
    'MAYFLY_PROGRAM_UNKNOWN',
    `there is no program ${name} in the image${where}`,
  );
}

function findInterpreter(root: ImageRoot, script: string, name: string, names: Names): Program {
  try {
    return findProgram(root, name, names);
  } catch (cause) {
    const message = `${script} is a script for ${name}, which is not there`;
    throw new MayflyError('MAYFLY_ELF_NO_INTERPRETER', message, { cause });
  }
}

/** The guest kernel would find the same, but only says so on the guest's stderr. */
function checkElf(root: ImageRoot, path: string, entry: RootEntry): void {
  if (!looksLikeElf(entry.readStart(4))) {
    throw new MayflyError(
      'MAYFLY_ELF_NOT_ELF',
      `${path} is neither an ELF program nor a script that names its interpreter (#!)`,
    );
  }
  const { interp } = parseElfOf(entry.source(), path);
  if (interp !== undefined && root.find(interp)?.entry.type !== 'file') {
    throw noInterpreter(
      `${path} is started by the dynamic loader ${interp}, which is not in the image`,
    );
  }
}

function noInterpreter(message: string): MayflyError {
  return new MayflyError('MAYFLY_ELF_NO_INTERPRETER', message);
}
