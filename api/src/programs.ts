/** From sources to what guests run, without the server: for tools that drive a pool of their own. */
export { ImageLayers } from './layers.js';
export { nodeProgram } from './runtimes/node.js';
export { pythonProgram } from './runtimes/python.js';
export type { Program, Runtime } from './runtimes/runtime.js';
