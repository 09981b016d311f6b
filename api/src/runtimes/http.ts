/** Any HTTP server, unmodified: requests reach it at the port that it listens on. */
import { basename } from 'node:path';
import { nodeFlags, nodePreloadPath } from '@mayfly/guest-agent';
import { GUEST_PATHS, type Layers } from '../layers.js';
import { commandOf } from './command.js';
import type { Program, Source } from './runtime.js';

const PORT_DEFAULT = 8080;
const PRELOAD = `${GUEST_PATHS.agents}/preload-node.cjs`;
const NODE_OPTIONS = ['--enable-source-maps', '--require', PRELOAD];

export async function httpProgram(source: Source, layers: Layers): Promise<Program> {
  const { port = PORT_DEFAULT, warmup = [] } = source;
  const extra = [{ guestPath: PRELOAD, hostPath: nodePreloadPath }];
  const { argv, images } = await commandOf(source, layers, 'server', extra);
  const [program = '', ...args] = argv;
  const isNode = basename(program) === 'node';
  const vendored = [...source.files.keys()].some((path) => path.startsWith('vendor/'));
  return {
    images,
    argv: isNode ? [program, ...nodeFlags, ...NODE_OPTIONS, ...args] : argv,
    env: { PORT: String(port) },
    defaults: {
      HOST: '127.0.0.1',
      // What `pip install -t vendor` brought, as for the python runtime.
      ...(vendored && { PYTHONPATH: `${GUEST_PATHS.function}/vendor` }),
    },
    cwd: GUEST_PATHS.function,
    dialect: { kind: 'http', port, ...(warmup.length > 0 && { warmup }) },
  };
}
