/** The file systems that a function's guest sees: images, bottom first. */
import { existsSync } from 'node:fs';
import { nodeAgentPath } from '@mayfly/guest-agent';
import { type ImageStore, Tree, treeFromPrograms } from '@mayfly/image';
import { MayflyError } from '@mayfly/protocol';

/** Where things lie in the guest; the agent's defaults agree. */
export const GUEST_PATHS = Object.freeze({
  agent: '/mayfly/agent-node.cjs',
  function: '/function/index.mjs',
});

export interface Layers {
  /** The program that runs the agent, as the guest's argv names it. */
  readonly nodePath: string;
  /** Paths of the images for a function whose bundled module this is. Equal modules give equal images. */
  build(module: string): Promise<string[]>;
}

/** Two images: node with the agent, shared by all functions, and one file on top of it. */
export class ImageLayers implements Layers {
  readonly nodePath: string;
  readonly #store: ImageStore;

  /** @param nodePath a node program of this host; it keeps its path in the guest */
  constructor(store: ImageStore, nodePath: string = process.execPath) {
    this.nodePath = nodePath;
    this.#store = store;
  }

  async build(module: string): Promise<string[]> {
    const base = await this.#store.build(await this.#nodeTree());
    const top = await this.#store.build(functionTree(module));
    return [base.path, top.path];
  }

  #nodeTree(): Promise<Tree> {
    if (!existsSync(nodeAgentPath)) {
      throw new MayflyError(
        'MAYFLY_AGENT_MISSING',
        `there is no ${nodeAgentPath}; run \`npm run setup\``,
      );
    }
    const agent = { guestPath: GUEST_PATHS.agent, hostPath: nodeAgentPath };
    return treeFromPrograms([{ path: this.nodePath }], { extra: [agent] });
  }
}

function functionTree(module: string): Tree {
  const tree = new Tree();
  const source = { kind: 'bytes', bytes: Buffer.from(module) } as const;
  const attributes = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n };
  tree.add({ path: GUEST_PATHS.function, ...attributes, type: 'file', source });
  return tree;
}
