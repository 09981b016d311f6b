export type { Dialect } from './dialects/dialect.js';
export * as kvm from './kvm/index.js';
export { MachinePool, type MachinePoolOptions } from './pool/machine-pool.js';
export { MachineProcesses, type MachineProcessesOptions } from './pool/machine-processes.js';
export type * from './pool/types.js';
