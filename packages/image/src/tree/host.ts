import { type BigIntStats, lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import { attributesOf, type Owner } from './folder.js';
import { joinPath, partsOf } from './path.js';
import { Sightings } from './sightings.js';
import { type Entry, PLAIN_DIR, type Tree } from './tree.js';

const LINKS_MAX = 40;

/** A path as the host resolves it: every folder and symbolic link on the way, and where it ends. */
export interface HostWalk {
  steps: Entry[];
  /** The path without symbolic links. */
  realPath: string;
  hostPath: string;
  stat: BigIntStats;
}

/** The host's files seen as a guest root: absolute paths below `root`, symbolic links included. */
export class HostRoot {
  readonly #root: string;
  readonly #owner: Owner;
  /** All that was looked at. */
  readonly sightings: Sightings;

  constructor(root: string, owner: Owner, sightings = new Sightings()) {
    this.#root = root;
    this.#owner = owner;
    this.sightings = sightings;
  }

  /** Follows a path; undefined when it does not exist or leads in circles. */
  walk(path: string): HostWalk | undefined {
    const steps: Entry[] = [];
    let left = partsOf(path);
    let done = '/';
    for (let links = 0; left.length > 0; ) {
      const [name, ...rest] = left as [string, ...string[]];
      const next = joinPath(done, name);
      const step = this.#step(next);
      if (step === undefined) return undefined;
      steps.push(step);
      if (step.type === 'symlink') {
        if (++links > LINKS_MAX) return undefined;
        left = [
          ...partsOf(joinPath(step.target.startsWith('/') ? '/' : done, step.target)),
          ...rest,
        ];
        done = '/';
      } else {
        if (step.type !== 'dir' && rest.length > 0) return undefined;
        left = rest;
        done = next;
      }
    }
    const hostPath = join(this.#root, done);
    return { steps, realPath: done, hostPath, stat: lstatSync(hostPath, { bigint: true }) };
  }

  /** The regular file that a path leads to, if it does. */
  file(path: string): HostWalk | undefined {
    const walk = this.walk(path);
    return walk?.stat.isFile() ? walk : undefined;
  }

  /** Puts a walk into a tree: folders, symbolic links as they are, and the file. What is there already stays. */
  addTo(tree: Tree, walk: HostWalk): void {
    for (const step of walk.steps) tree.addMissing(step);
  }

  #step(path: string): Entry | undefined {
    const hostPath = join(this.#root, path);
    const stat = lstatSync(hostPath, { bigint: true, throwIfNoEntry: false });
    this.sightings.add(hostPath, stat);
    if (stat === undefined) return undefined;
    const attributes = { path, ...attributesOf(stat, this.#owner) };
    // A folder of which only a part is taken has no time of its own: other files in it must not change the image.
    if (stat.isDirectory()) return { ...attributes, type: 'dir', mtimeNs: PLAIN_DIR.mtimeNs };
    if (stat.isSymbolicLink())
      return { ...attributes, type: 'symlink', target: readlinkSync(hostPath) };
    if (stat.isFile()) {
      return {
        ...attributes,
        type: 'file',
        source: { kind: 'host', hostPath, size: Number(stat.size) },
      };
    }
    throw new MayflyError('MAYFLY_IMAGE_BAD_PATH', `${hostPath} is neither file, folder nor link`);
  }
}
