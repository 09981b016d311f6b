/** The file systems that a function's guest sees: images, bottom first. */
import { type Extra, type ImageStore, Tree, treeFromPrograms } from '@mayfly/image';
import type { SourceFile } from './runtimes/runtime.js';

/** Where things lie in the guest; the agents' defaults agree. */
export const GUEST_PATHS = Object.freeze({ agents: '/mayfly', function: '/function' });

/** Makes images, and gives their paths. Equal content gives equal images. */
export interface Layers {
  /**
   * Programs of this host, each at its own path, and other files: shared by all functions of a runtime. `without`: paths of
   * what comes with the programs that are left out.
   */
  programs(paths: readonly string[], extra: Extra[], without?: RegExp): Promise<string>;
  /** The files of one function, in /function. */
  files(files: ReadonlyMap<string, SourceFile>): Promise<string>;
}

export class ImageLayers implements Layers {
  readonly #store: ImageStore;

  constructor(store: ImageStore) {
    this.#store = store;
  }

  async programs(paths: readonly string[], extra: Extra[], without?: RegExp): Promise<string> {
    const programs = paths.map((path) => ({ path }));
    const options = { extra, ...(without && { without }) };
    const { path } = await this.#store.build(await treeFromPrograms(programs, options));
    return path;
  }

  async files(files: ReadonlyMap<string, SourceFile>): Promise<string> {
    const { path } = await this.#store.build(functionTree(files));
    return path;
  }
}

function functionTree(files: ReadonlyMap<string, SourceFile>): Tree {
  const tree = new Tree();
  for (const [name, { bytes, executable }] of files) {
    const source = { kind: 'bytes', bytes } as const;
    const attributes = { mode: executable ? 0o755 : 0o644, uid: 0, gid: 0, mtimeNs: 0n };
    tree.add({ path: `${GUEST_PATHS.function}/${name}`, ...attributes, type: 'file', source });
  }
  return tree;
}
