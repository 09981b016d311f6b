/** The images that the checkpoints of a store need, by digest: hard links, or copies from another file system. */
import { statSync } from 'node:fs';
import { copyFile, link, mkdir, readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import * as durable from '@mayfly/image/durable';
import { damaged, type Layer } from './manifest.js';
import type { OnBytes } from './pages.js';

const { createFile, removeAbandoned, sync } = durable;
const DIGEST_NAME = /^([0-9a-f]{64})\.erofs$/;

export class LayerFolder {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  /** Makes the folder if needed and removes what crashed processes left in it. */
  async open(): Promise<void> {
    await mkdir(this.dir, { recursive: true, mode: 0o700 });
    await removeAbandoned(this.dir);
  }

  path(digest: string): string {
    return join(this.dir, `${digest}.erofs`);
  }

  /** Images of the host, bottom first. A file that is called by its digest is taken at its word. */
  async add(images: readonly string[]): Promise<Layer[]> {
    const layers: Layer[] = [];
    for (const path of images) {
      const digest = DIGEST_NAME.exec(basename(path))?.[1] ?? (await hashFile(path));
      await this.#addFile(path, this.path(digest));
      layers.push({ digest, size: statSync(path).size });
    }
    return layers;
  }

  /** Whether there is such a layer. Throws MAYFLY_CHECKPOINT_DAMAGED for one of another size. */
  has({ digest, size }: Layer): boolean {
    const found = statSync(this.path(digest), { throwIfNoEntry: false });
    if (found !== undefined && found.size !== size) {
      throw damaged(`layer ${digest} has ${found.size} bytes, not ${size}`);
    }
    return found !== undefined;
  }

  /** Throws MAYFLY_CHECKPOINT_DAMAGED for a layer that is missing or has another size. `who` needs them. */
  require(layers: readonly Layer[], who: string): void {
    for (const layer of layers) {
      if (!this.has(layer)) throw damaged(`${who}: layer ${layer.digest} is missing`);
    }
  }

  /** Reads a layer. Throws MAYFLY_CHECKPOINT_DAMAGED. */
  async verify({ digest, size }: Layer, onBytes?: OnBytes): Promise<void> {
    if ((await hashFile(this.path(digest))) !== digest) {
      throw damaged(`layer ${digest} has other content`);
    }
    onBytes?.(size);
  }

  /** What changes when somebody writes to a layer or puts another file in its place. Links may come and go. */
  stamp({ digest }: Layer): string {
    const { ino, size, mtimeNs } = statSync(this.path(digest), { bigint: true });
    return `layer ${digest} ${ino} ${size} ${mtimeNs}`;
  }

  async digests(): Promise<string[]> {
    const names = await readdir(this.dir);
    return names.map((name) => DIGEST_NAME.exec(name)?.[1]).filter((d) => d !== undefined);
  }

  async remove(digest: string): Promise<void> {
    await rm(this.path(digest), { force: true });
  }

  async #addFile(path: string, to: string): Promise<void> {
    try {
      await link(path, to);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return;
      if (code !== 'EXDEV' && code !== 'EPERM' && code !== 'EMLINK') throw error;
      await createFile(this.dir, async (temporary) => {
        await copyFile(path, temporary);
        await sync(temporary);
        return basename(to);
      });
    }
  }
}

async function hashFile(path: string): Promise<string> {
  return (await import('@mayfly/image')).hashFile(path); // all of that package, which few need
}
