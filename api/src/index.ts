export { ApiError, type ApiErrorCode, ERRORS } from './errors.js';
export { GUEST_PATHS, ImageLayers, type Layers } from './layers.js';
export { type RunningServer, type StartOptions, startServer } from './main.js';
export { nodeProgram } from './runtimes/node.js';
export { pythonProgram } from './runtimes/python.js';
export type { Program, Runtime, Source, SourceFile } from './runtimes/runtime.js';
export { bundleFile, bundleProgram, bundleSource } from './source.js';
