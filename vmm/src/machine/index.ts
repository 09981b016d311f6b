/** Machines themselves, for those who drive one by hand. */
export { bootMachine, type MachineSpec } from './factory.js';
export type { Machine, Stop } from './machine.js';
export { tryHost } from './trial.js';
