export { exits, runPageOffsets, syncFields } from './constants.js';
export { KvmError } from './errors.js';
export { tryLock } from './file-lock.js';
export { type FileMapping, GuestMemory } from './guest-memory.js';
export { Kvm } from './kvm.js';
export type { Msr } from './msrs.js';
export {
  DEBUG_REGS_SIZE,
  type DescriptorTable,
  EVENTS_SIZE,
  REGS_SIZE,
  type RegName,
  type RegsView,
  regOffsets,
  regsView,
  type Segment,
  type SegmentName,
  SREGS_SIZE,
  type SregName,
  type SregsView,
  segmentOffsets,
  sregOffsets,
  sregsView,
  type TableName,
  tableOffsets,
  XCRS_SIZE,
  XSAVE_SIZE_MAX,
  XSAVE_SIZE_MIN,
} from './registers.js';
export { type ByteRange, Rewinder, type RewinderOptions } from './rewinder.js';
export { threadFaults } from './thread-faults.js';
export { Vcpu } from './vcpu.js';
export { type SlotOptions, Vm } from './vm.js';
