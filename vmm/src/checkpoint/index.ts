/** Checkpoints: the state of machines, on disk. */
export { type CpuDescription, describeCpu, missingFeatures } from './cpu.js';
export { type ExportOptions, exportBytes, exportCheckpoint } from './export-file.js';
export { type ImportOptions, importCheckpoint } from './import-file.js';
export { type CloneOptions, cloneMachine, type Moment, runToMoment } from './machines.js';
export type { Layer, Manifest } from './manifest.js';
export {
  type Broken,
  type Captured,
  CheckpointStore,
  type CreateOptions,
  defaultCheckpointDir,
  type Loaded,
} from './store.js';
export { type TreeNode, treeOf } from './tree.js';
