/** Any Linux program of x86-64: a filter of standard input, or one that speaks frames itself with mayfly.h. */
import { ApiError } from '../errors.js';
import { GUEST_PATHS, type Layers } from '../layers.js';
import { commandOf } from './command.js';
import type { Program, Source } from './runtime.js';

/** guest-agent/include/mayfly.h puts it into each program that includes it. */
const FRAMES_MARK = 'mayfly: speaks frames';

/** A filter ends with its answer, and a program that speaks frames knows best what it does before mayfly_ready(). */
const NO_WARMUP =
  'a native program has no warmup: it does what takes long before it reads its standard input, or before mayfly_ready()';

export async function nativeProgram(source: Source, layers: Layers): Promise<Program> {
  if (source.warmup?.length) throw new ApiError('MAYFLY_SOURCE_INVALID', NO_WARMUP);
  const { argv, images, own } = await commandOf(source, layers, source.name);
  const speaksFrames = own !== undefined && Buffer.from(own.bytes).includes(FRAMES_MARK);
  return {
    images,
    argv,
    env: {},
    cwd: GUEST_PATHS.function,
    dialect: { kind: speaksFrames ? 'frames' : 'stdio' },
  };
}
