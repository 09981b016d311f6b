/** Python: a handler, or a WSGI or ASGI application. */
import { pythonAgentPath } from '@mayfly/guest-agent';
import { ApiError } from '../errors.js';
import { GUEST_PATHS, type Layers } from '../layers.js';
import { hostInterpreter } from './command.js';
import { withModules } from './modules.js';
import { type Program, type Source, warmupEnv } from './runtime.js';

const AGENT = `${GUEST_PATHS.agents}/python`;
const ENTRIES = ['main.py', 'app.py', 'handler.py', 'index.py'];

/**
 * -S: the packages of the host's site-packages are not the function's. -B: a clone's files are gone with it, so nothing is
 * gained by writing .pyc.
 */
const FLAGS = ['-S', '-B', '-X', 'utf8'];

/** What -S hides is not in the image either. */
const SITE_PACKAGES = /\/(dist|site)-packages$|\/python-wheels$/;

export async function pythonProgram(source: Source, layers: Layers): Promise<Program> {
  const python = hostInterpreter('python3');
  const entry = entryOf(source);
  const agent = { guestPath: AGENT, hostPath: pythonAgentPath };
  const base = await withModules(source.files, (modules) =>
    layers.programs([python], [agent, ...modules], SITE_PACKAGES),
  );
  return {
    images: [base, await layers.files(source.files)],
    argv: [python, ...FLAGS, `${AGENT}/agent.py`],
    // Without a locale, Python would set LC_CTYPE for the function to see.
    env: {
      ...warmupEnv(source),
      MAYFLY_FUNCTION: `${GUEST_PATHS.function}/${entry}`,
      PYTHONCOERCECLOCALE: '0',
    },
  };
}

/** PATH or PATH:NAME. */
function entryOf({ files, entry }: Source): string {
  if (entry === undefined) {
    const found = ENTRIES.find((name) => files.has(name));
    if (found !== undefined) return found;
    const [only, ...more] = [...files.keys()].filter((name) => /^[^/]+\.py$/.test(name));
    if (only !== undefined && more.length === 0) return only;
    throw invalid(`there is no ${ENTRIES.join(', ')}: say with "entry" which file is the function`);
  }
  const [file = ''] = entry.split(':');
  if (files.has(file)) return entry;
  throw invalid(`the entry ${file} is not among the files`);
}

const invalid = (why: string) => new ApiError('MAYFLY_SOURCE_INVALID', why);
