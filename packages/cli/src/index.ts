export type { Io } from './output.js';
export { runCommandLine } from './program.js';
