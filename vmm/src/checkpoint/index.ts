/** Checkpoints: the state of machines, on disk. */
export { ChainMemory, type Link } from './chain-memory.js';
export { type CpuDescription, describeCpu, missingFeatures } from './cpu.js';
export { type Change, type CheckpointDiff, diffCheckpoints, type RegionDiff } from './diff.js';
export { type ExportOptions, exportBytes, exportCheckpoint } from './export-file.js';
export { flatten } from './flatten.js';
export { type ImportOptions, importCheckpoint } from './import-file.js';
export {
  type CloneOptions,
  type CloneStats,
  cloneMachine,
  type Moment,
  type MomentOptions,
  type Origin,
  runClone,
  runToMoment,
  storeMachine,
} from './machines.js';
export { checkName as checkCheckpointName, type Layer, type Manifest } from './manifest.js';
export { countPages, pagesOf, writePages } from './pages.js';
export { type Unmet, unmetBy, unmetText } from './requirements.js';
export {
  type Broken,
  type Captured,
  CheckpointStore,
  type CreateOptions,
  defaultCheckpointDir,
  type Loaded,
} from './store.js';
export { type TreeNode, treeOf } from './tree.js';
