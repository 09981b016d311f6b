export { ConsoleDevice, type ConsoleOptions, type ConsoleState } from './console.js';
export { EntropyDevice } from './entropy.js';
export { VsockDevice, type VsockOptions, type VsockState } from './vsock.js';
export type { VsockCloseReason, VsockStream } from './vsock-stream.js';
