/** The native addon's exports. Only the files of this folder import it; everybody else uses the classes. */
import { createRequire } from 'node:module';
import { KvmError } from './errors.js';

declare const kind: unique symbol;
/** A wrapped, type-tagged native object. */
export type Handle<K extends string> = { readonly [kind]: K };
export type KvmHandle = Handle<'kvm'>;
export type VmHandle = Handle<'vm'>;
export type VcpuHandle = Handle<'vcpu'>;
export type MemoryHandle = Handle<'memory'>;
export type RewinderHandle = Handle<'rewinder'>;

/** enum mapping_kind in native/memory.h */
export const memoryKinds = { anonymous: 0, memfd: 1, privateFile: 2, readonlyFile: 3 } as const;

/** enum vcpu_state in native/kvm.h */
export const vcpuStates = {
  regs: 0,
  sregs: 1,
  fpu: 2,
  xsave: 3,
  events: 4,
  xcrs: 5,
  debugRegs: 6,
  mpState: 7,
} as const;

export interface Native {
  setErrorClass(errorClass: typeof KvmError): void;
  close(handle: Handle<string>): void;
  kvmOpen(path: string): KvmHandle;
  kvmCheckExtension(kvm: KvmHandle, extension: number): number;
  kvmGetCpuid(kvm: KvmHandle): ArrayBuffer;
  kvmSetCpuid(kvm: KvmHandle, entries: ArrayBuffer): void;
  kvmCreateVm(kvm: KvmHandle): VmHandle;
  vmSetMemory(
    vm: VmHandle,
    slot: number,
    gpa: number,
    memory: MemoryHandle,
    offset: number,
    size: number,
    readonly: boolean,
  ): void;
  vmDenyMsrs(vm: VmHandle): void;
  memoryCreate(kind: number, size: number, fd: number, offset: number, huge: boolean): MemoryHandle;
  memoryBuffer(memory: MemoryHandle): ArrayBuffer;
  memoryAddress(memory: MemoryHandle): bigint;
  memoryFd(memory: MemoryHandle): number;
  memoryWriteTo(memory: MemoryHandle, fd: number, size: number): void;
  memoryWritten(memory: MemoryHandle): Uint32Array;
  memoryReplace(memory: MemoryHandle, hasFile: boolean, fd: number): void;
  fileUncache(fd: number): void;
  fileLock(fd: number): boolean;
  memoryPopulate(memory: MemoryHandle, runs: ArrayBuffer): void;
  threadFaults(): number;
  memoryRuns(memory: MemoryHandle, base: MemoryHandle | null): Uint32Array;
  vcpuCreate(vm: VmHandle, id: number): VcpuHandle;
  vcpuRunPage(vcpu: VcpuHandle): ArrayBuffer;
  vcpuGetState(vcpu: VcpuHandle, state: number): ArrayBuffer;
  vcpuSetState(vcpu: VcpuHandle, state: number, bytes: ArrayBuffer): void;
  vcpuGetMsrs(vcpu: VcpuHandle, entries: ArrayBuffer): void;
  vcpuSetMsrs(vcpu: VcpuHandle, entries: ArrayBuffer): void;
  vcpuRun(vcpu: VcpuHandle): number;
  vcpuCompleteIo(vcpu: VcpuHandle): number;
  vcpuSetClock(vcpu: VcpuHandle, memory: MemoryHandle | null, offset: number): void;
  vcpuSetSlice(vcpu: VcpuHandle, us: number): void;
  vcpuKickToken(vcpu: VcpuHandle): bigint;
  kick(token: bigint): boolean;
  rewinderCreate(
    memory: MemoryHandle,
    template: MemoryHandle,
    vcpu: VcpuHandle | null,
    regs: ArrayBuffer,
    sregs: ArrayBuffer,
    exclude: ArrayBuffer,
    guard: ArrayBuffer,
    pagesMax: number,
    flush: boolean,
  ): RewinderHandle;
  rewinderRewind(rewinder: RewinderHandle): number;
  rewinderDirtyPages(rewinder: RewinderHandle): Uint32Array;
  rewinderRewindAndRun(rewinder: RewinderHandle): number;
  rewinderPagesCopied(rewinder: RewinderHandle): number;
}

/** From dist/src/kvm to the package's root. */
const ADDON = '../../../build/Release/mayfly_vmm.node';

function load(): Native {
  let addon: Native;
  try {
    addon = createRequire(import.meta.url)(ADDON) as Native;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new KvmError(
      'MAYFLY_KVM_ADDON',
      `the native addon does not load (build it with "pnpm --filter @mayfly/vmm build:native"): ${reason}`,
    );
  }
  addon.setErrorClass(KvmError);
  return addon;
}

export const native = load();
