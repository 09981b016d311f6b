/** Any HTTP server, unmodified: requests reach it at the port that it listens on. */
import { nodeFlags, nodePreloadPath, pythonAgentPath } from '@mayfly/guest-agent';
import type { Extra } from '@mayfly/image';
import { GUEST_PATHS, type Layers } from '../layers.js';
import { commandOf } from './command.js';
import type { Program, Source } from './runtime.js';

const PORT_DEFAULT = 8080;
const PRELOAD = `${GUEST_PATHS.agents}/preload-node.cjs`;
const SITE = `${GUEST_PATHS.agents}/python`;
const VENDOR = `${GUEST_PATHS.function}/vendor`;

/** What an interpreter loads before the server: it seeds what the language seeds once a process, when a clone's request is there. */
interface Preparation {
  extra: Extra[];
  flags: readonly string[];
  defaults: Record<string, string>;
}

const PREPARATIONS: Record<string, Preparation> = {
  node: {
    extra: [{ guestPath: PRELOAD, hostPath: nodePreloadPath }],
    flags: [...nodeFlags, '--enable-source-maps', '--require', PRELOAD],
    defaults: {},
  },
  python3: {
    extra: [{ guestPath: SITE, hostPath: pythonAgentPath }],
    flags: [],
    // sitecustomize.py. A clone's files and its buffered output are gone with it.
    defaults: { PYTHONPATH: SITE, PYTHONDONTWRITEBYTECODE: '1', PYTHONUNBUFFERED: '1' },
  },
};

export async function httpProgram(source: Source, layers: Layers): Promise<Program> {
  const { port = PORT_DEFAULT, warmup = [], command: [interpreter = ''] = [] } = source;
  const { extra, flags, defaults = {} } = PREPARATIONS[interpreter] ?? {};
  const { argv, images, own } = await commandOf(source, layers, 'server', extra);
  const [program = '', ...args] = argv;
  const vendored = [...source.files.keys()].some((path) => path.startsWith('vendor/'));
  return {
    images,
    argv: own === undefined && flags ? [program, ...flags, ...args] : argv,
    env: { PORT: String(port) },
    defaults: {
      HOST: '127.0.0.1',
      ...defaults,
      // What `pip install -t vendor` brought, as for the python runtime.
      ...(vendored && defaults.PYTHONPATH && { PYTHONPATH: `${VENDOR}:${defaults.PYTHONPATH}` }),
    },
    cwd: GUEST_PATHS.function,
    dialect: { kind: 'http', port, ...(warmup.length > 0 && { warmup }) },
  };
}
