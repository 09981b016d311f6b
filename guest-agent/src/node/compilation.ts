/**
 * When V8 compiles what is loaded before the template is made. By itself it compiles a function when it is first called, and in
 * a clone every call is the first: that would be half the time of an invocation of a parser, say.
 */
import { setFlagsFromString } from 'node:v8';

/** TurboFan needs one to two seconds for a MiB of WebAssembly, Liftoff a tenth of one. */
const OPTIMISED_BYTES_MAX = 2 * 1024 * 1024;

/** Until the function that it gives is called, all that is loaded is compiled whole: JavaScript and WebAssembly. */
export function compileWhole(): () => void {
  setFlagsFromString('--no-flush-bytecode'); // V8 throws away what was not called for some collections.
  return switchedOff('lazy', 'wasm-lazy-compilation');
}

/**
 * The same for a module of WebAssembly that is the whole function: it is there to compute, so it is optimised as well, unless it
 * is so large that a deployment would seem to hang.
 */
export function compileOptimised(bytes: number): () => void {
  const liftoff = bytes <= OPTIMISED_BYTES_MAX ? ['liftoff'] : [];
  return switchedOff('wasm-lazy-compilation', ...liftoff);
}

/** Until the function that it gives is called, WebAssembly is loaded that V8 never compiles again in the background, be it hot. */
export function compileOnce(): () => void {
  return switchedOff('wasm-dynamic-tiering');
}

function switchedOff(...flags: string[]): () => void {
  for (const flag of flags) setFlagsFromString(`--no-${flag}`);
  return () => {
    for (const flag of flags) setFlagsFromString(`--${flag}`);
  };
}
