import { posix } from 'node:path';
import { MayflyError } from '@mayfly/protocol';

const NAME_BYTES_MAX = 255;
const PATH_BYTES_MAX = 4095;
/** Nearly all paths: ASCII, with neither empty nor dotted parts nor long ones. */
const PLAIN = /^(?:\/(?!\.{1,2}(?:\/|$))[ -.0-~]{1,255})+$/;

/** Throws MAYFLY_IMAGE_BAD_PATH unless the path is absolute, normal ('.', '..', '//' absent), and fits Linux's limits. */
export function checkPath(path: string): void {
  const bad = problemOf(path);
  if (bad !== undefined) throw pathError(path, bad);
}

/** Throws MAYFLY_IMAGE_BAD_PATH unless a symbolic link's target is one that Linux would accept. */
export function checkTarget(path: string, target: string): void {
  if (target === '' || target.includes('\0') || Buffer.byteLength(target) > PATH_BYTES_MAX) {
    throw pathError(path, 'its link target is empty, too long, or has a NUL byte');
  }
}

function pathError(path: string, why: string): MayflyError {
  return new MayflyError(
    'MAYFLY_IMAGE_BAD_PATH',
    `${JSON.stringify(path)} is no guest path: ${why}`,
  );
}

function problemOf(path: string): string | undefined {
  if (path.length <= PATH_BYTES_MAX && PLAIN.test(path)) return undefined;
  if (!path.startsWith('/')) return 'it is not absolute';
  if (path.includes('\0')) return 'it has a NUL byte';
  if (path !== '/' && posix.normalize(path) !== path) return "it has '.', '..' or empty parts";
  if (path.length > 1 && path.endsWith('/')) return 'it ends in a slash';
  if (Buffer.from(path).toString() !== path) return 'it is not Unicode text';
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) return `it is longer than ${PATH_BYTES_MAX} bytes`;
  const long = partsOf(path).some((part) => Buffer.byteLength(part) > NAME_BYTES_MAX);
  return long ? `a part is longer than ${NAME_BYTES_MAX} bytes` : undefined;
}

/** '/a/b' -> '/a', '/a' -> '/'. */
export function parentOf(path: string): string {
  return posix.dirname(path);
}

export function joinPath(dir: string, name: string): string {
  return posix.join(dir, name);
}

export function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '');
}
