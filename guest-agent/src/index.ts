/** Where the agents and helpers are, for whoever builds images with them. */
import { fileURLToPath } from 'node:url';

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** The agent for Node.js functions: one CommonJS file without dependencies (made by `pnpm build`). */
export const nodeAgentPath: string = at('../agent-node.cjs');

/** What node is started with before the agent or a server. A guest has one vCPU: V8's helper threads would only take turns with the function. */
export const nodeFlags: readonly string[] = ['--single-threaded'];

/** What an HTTP server in Node.js is started with: --require. */
export const nodePreloadPath: string = at('../preload-node.cjs');

/** The agent for Python functions: a folder that is started with its agent.py. */
export const pythonAgentPath: string = at('../../src/python');

/** What programs import or include: to ask for a checkpoint, to register what each clone does first, to speak frames. */
export const helperPaths = Object.freeze({
  node: at('../mayfly.cjs'),
  python: at('../../src/python/mayfly.py'),
  c: at('../../include/mayfly-checkpoint.h'),
  frames: at('../../include/mayfly.h'),
});
