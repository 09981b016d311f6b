export * as abi from './abi.js';
export { AnswerOrder, type AnswerPart, type AnswerPhase, answerBroken } from './answer-order.js';
export { MayflyError } from './errors.js';
export {
  CHUNK_BYTES,
  decodeWholeFrame,
  encodeFrame,
  encodeFrameInto,
  FRAME_LIMITS,
  type Frame,
  FrameDecoder,
  type FrameLimits,
} from './frames.js';
export type * from './messages.js';
export { VERSION } from './version.js';
export { nameOfWarmUp, WARM_UP_ORIGIN, type WarmUpCall } from './warm-up.js';
