/** Any Linux program of x86-64: a filter of standard input, or one that speaks frames itself with mayfly.h. */
import { GUEST_PATHS, type Layers } from '../layers.js';
import { commandOf } from './command.js';
import type { Program, Source } from './runtime.js';

/** guest-agent/include/mayfly.h puts it into each program that includes it. */
const FRAMES_MARK = 'mayfly: speaks frames';

export async function nativeProgram(source: Source, layers: Layers): Promise<Program> {
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
