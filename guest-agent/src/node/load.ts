/** Loads the user's module and finds the function in it. */
import { pathToFileURL } from 'node:url';
import type { EventHead, RequestHead } from '@mayfly/protocol';
import type { Channel } from './channel.js';
import { compileWhole } from './compilation.js';
import type { InvocationContext } from './context.js';
import { FunctionError } from './failure.js';
import type { RequestBody } from './request-body.js';

/** `env`: the environment variables, as in process.env. */
export type FetchFunction = (
  request: Request,
  env: NodeJS.ProcessEnv,
  context: InvocationContext,
) => unknown;
export type HandlerFunction = (event: unknown, context: InvocationContext) => unknown;

/** Writes its answer itself. @throws FunctionError FUNCTION_FAILED; what the program throws */
export type ProgramFunction = (
  head: RequestHead | EventHead,
  body: RequestBody,
  channel: Channel,
) => void;

export type UserFunction =
  | { exports: 'program'; call: ProgramFunction; renew: () => void }
  /** `renew`: makes it again what it was when it was loaded, after a call that used it up. */
  | { exports: 'fetch'; call: FetchFunction; renew?: () => void }
  | { exports: 'handler'; call: HandlerFunction; renew?: never };

/**
 * @param path of an ES module, or of a WebAssembly module (.wasm)
 * @throws FunctionError FUNCTION_SYNTAX, FUNCTION_NO_EXPORT; what the module itself throws goes through
 */
export async function loadFunction(path: string): Promise<UserFunction> {
  if (path.endsWith('.wasm')) {
    const { loadWasm } = await import('./wasm.js'); // node:wasi warns when it is loaded
    return { exports: 'program', ...loadWasm(path) };
  }
  process.setSourceMapsEnabled(true); // stacks name the user's files; maps are decoded when a stack is asked for
  let module: Record<string, unknown>;
  const url = pathToFileURL(path).href;
  const compiled = compileWhole();
  try {
    module = await import(url);
  } catch (error) {
    throw isParseError(error, url)
      ? new FunctionError('FUNCTION_SYNTAX', (error as Error).message, { cause: error })
      : error;
  } finally {
    compiled();
  }
  return findFunction(module);
}

function findFunction(module: Record<string, unknown>): UserFunction {
  // A CommonJS source arrives as the default export of the bundle.
  const main = module.default as Record<string, unknown> | undefined;
  if (typeof main?.fetch === 'function') {
    return { exports: 'fetch', call: main.fetch.bind(main) as FetchFunction };
  }
  const handler = module.handler ?? main?.handler;
  if (typeof handler === 'function') {
    return { exports: 'handler', call: handler as HandlerFunction };
  }
  const found = Object.keys(module).join(', ') || 'nothing';
  const wanted = {
    fetch: 'export default { fetch(request, env, ctx) { ... } }',
    handler: 'export function handler(event, context) { ... }',
  };
  throw new FunctionError(
    'FUNCTION_NO_EXPORT',
    `the module exports ${found}; Mayfly calls \`${wanted.fetch}\` or \`${wanted.handler}\``,
  );
}

/** A SyntaxError that no line of the module threw: the stack has frames of Node's loader only. */
function isParseError(error: unknown, url: string): boolean {
  if (!(error instanceof SyntaxError)) return false;
  return !String(error.stack)
    .split('\n')
    .some((line) => line.startsWith('    at') && line.includes(url));
}
