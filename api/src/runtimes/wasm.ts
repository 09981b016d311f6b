/** WebAssembly: a WASI command or reactor, in Node.js. */
import { ApiError } from '../errors.js';
import { GUEST_PATHS, type Layers } from '../layers.js';
import { nodeBase } from './node.js';
import { type Program, type Source, warmupEnv } from './runtime.js';

const MAGIC = Buffer.from('\0asm\x01\0\0\0', 'latin1');

export async function wasmProgram(source: Source, layers: Layers): Promise<Program> {
  const entry = moduleOf(source);
  const { image, argv } = await nodeBase(layers, ['--no-warnings']); // node:wasi is an experiment, says Node
  return {
    images: [image, await layers.files(source.files)],
    argv,
    env: { ...warmupEnv(source), MAYFLY_FUNCTION: `${GUEST_PATHS.function}/${entry}` },
  };
}

function moduleOf({ files, entry }: Source): string {
  const [found, ...more] = entry
    ? [entry]
    : [...files.keys()].filter((name) => /\.wasm$/.test(name));
  if (found === undefined) throw invalid('there is no .wasm file');
  if (more.length > 0) throw invalid('there are several .wasm files: say with "entry" which one');
  const file = files.get(found);
  if (file === undefined) throw invalid(`the entry ${found} is not among the files`);
  if (!found.endsWith('.wasm') || !MAGIC.equals(file.bytes.subarray(0, MAGIC.byteLength))) {
    throw invalid(`${found} is no WebAssembly module (version 1, in a file that ends with .wasm)`);
  }
  return found;
}

const invalid = (why: string) => new ApiError('MAYFLY_SOURCE_INVALID', why);
