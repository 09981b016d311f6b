export {
  ConsoleDevice,
  type ConsoleOptions,
  type ConsoleState,
  consoleLimits,
} from './console.js';
export { EntropyDevice } from './entropy.js';
export {
  VsockDevice,
  type VsockOptions,
  type VsockState,
  vsockLimits,
  withStreams,
} from './vsock.js';
export type { VsockCloseReason, VsockStream } from './vsock-stream.js';
