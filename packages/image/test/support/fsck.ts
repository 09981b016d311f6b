import { spawnSync } from 'node:child_process';

/** Checks an image with erofs-utils, and extracts it when `into` is given. Throws with fsck's words when it objects. */
export function fsckErofs(image: string, into?: string): void {
  const extract = into === undefined ? [] : [`--extract=${into}`, '--force', '--overwrite'];
  const result = spawnSync('fsck.erofs', [...extract, image], { encoding: 'utf8' });
  if (result.error !== undefined) {
    throw new Error('fsck.erofs is missing: install erofs-utils (apt-get install erofs-utils)');
  }
  const said = `${result.stdout}${result.stderr}`;
  if (result.status !== 0 || /error|corrupt|bogus|invalid/i.test(said)) {
    throw new Error(`fsck.erofs refuses ${image} (status ${result.status}):\n${said}`);
  }
}
