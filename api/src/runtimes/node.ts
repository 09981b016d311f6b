/** JavaScript and TypeScript, bundled into one module, in Node.js. */
import { existsSync } from 'node:fs';
import { nodeAgentPath, nodeFlags } from '@mayfly/guest-agent';
import { MayflyError } from '@mayfly/protocol';
import { ApiError } from '../errors.js';
import { GUEST_PATHS, type Layers } from '../layers.js';
import { bundleSource } from '../source.js';
import { type Program, type Source, warmupEnv } from './runtime.js';

const AGENT = `${GUEST_PATHS.agents}/agent-node.cjs`;
const MODULE = 'index.mjs';

export async function nodeProgram(source: Source, layers: Layers): Promise<Program> {
  const module = await bundleSource(textOfOnlyFile(source), `${source.name}.js`);
  const file = { bytes: Buffer.from(module), executable: false };
  const { image, argv } = await nodeBase(layers);
  return {
    images: [image, await layers.files(new Map([[MODULE, file]]))],
    argv,
    env: { ...warmupEnv(source), MAYFLY_FUNCTION: `${GUEST_PATHS.function}/${MODULE}` },
  };
}

/** Node.js with the agent. */
export async function nodeBase(
  layers: Layers,
  flags: string[] = [],
): Promise<{ image: string; argv: string[] }> {
  const image = await layers.programs([process.execPath], [nodeAgent()]);
  return { image, argv: [process.execPath, ...nodeFlags, ...flags, AGENT] };
}

function nodeAgent() {
  if (existsSync(nodeAgentPath)) return { guestPath: AGENT, hostPath: nodeAgentPath };
  const message = `there is no ${nodeAgentPath}; run \`npm run setup\``;
  throw new MayflyError('MAYFLY_AGENT_MISSING', message);
}

function textOfOnlyFile({ files }: Source): string {
  const [file, ...more] = files.values();
  if (file && more.length === 0) return Buffer.from(file.bytes).toString();
  const message = `a node function is deployed as one bundled file, not ${files.size}`;
  throw new ApiError('MAYFLY_SOURCE_INVALID', message);
}
