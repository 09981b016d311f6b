/** What the file system says about a store, as an error with a code and something to do. */
import { MayflyError } from '@mayfly/protocol';

/** Throws MAYFLY_CHECKPOINT_STORE_FULL and _STORE_UNUSABLE for errors of the system that come out of `work`. */
export async function inStore<T>(dir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw ofSystem(error) ? storeError(dir, error) : error;
  }
}

function ofSystem(error: unknown): error is NodeJS.ErrnoException {
  if (!(error instanceof Error) || error instanceof MayflyError) return false;
  const { code, syscall } = error as NodeJS.ErrnoException;
  return syscall !== undefined && /^E[A-Z0-9]+$/.test(code ?? '');
}

/** Whether a file system that can be read takes no new file, or no more bytes. */
export function isUnwritable(error: unknown): boolean {
  const { code = '' } = error as NodeJS.ErrnoException;
  return ['EROFS', 'EACCES', 'EPERM', 'ENOSPC', 'EDQUOT', 'EOPNOTSUPP'].includes(code);
}

function storeError(dir: string, cause: NodeJS.ErrnoException): MayflyError {
  const { code, path } = cause;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const message = `there is no room left in ${dir} (${code})`;
    return new MayflyError('MAYFLY_CHECKPOINT_STORE_FULL', message, { cause });
  }
  const where = path === undefined ? '' : `, ${path}`;
  const message = `checkpoints cannot be kept in ${dir} (${code}${where}): give a folder that can be read and written`;
  return new MayflyError('MAYFLY_CHECKPOINT_STORE_UNUSABLE', message, { cause });
}
