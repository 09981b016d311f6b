/** Where the agents are, for whoever builds images with them. */
import { fileURLToPath } from 'node:url';

/** The agent for Node.js functions: one CommonJS file without dependencies (made by `pnpm build`). */
export const nodeAgentPath: string = fileURLToPath(new URL('../agent-node.cjs', import.meta.url));

/** The agent for Python functions: a folder that is started with its agent.py. */
export const pythonAgentPath: string = fileURLToPath(new URL('../../src/python', import.meta.url));
