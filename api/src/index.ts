export { ApiError, type ApiErrorCode, ERRORS } from './errors.js';
export { GUEST_PATHS, type Layers } from './layers.js';
export { type RunningServer, type StartOptions, startServer } from './main.js';
export type { Program, Runtime, Source, SourceFile } from './runtimes/runtime.js';
