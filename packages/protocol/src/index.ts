export * as abi from './abi.js';
export { MayflyError } from './errors.js';
export {
  decodeWholeFrame,
  encodeFrame,
  encodeFrameInto,
  FRAME_LIMITS,
  type Frame,
  FrameDecoder,
  type FrameLimits,
} from './frames.js';
export type * from './messages.js';
