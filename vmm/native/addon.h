/* The exported functions; native.ts lists them with their types. */
#ifndef MAYFLY_ADDON_H
#define MAYFLY_ADDON_H

#include "handle.h"

/* addon.c: setErrorClass(class), kvmOpen(path), kvmCheckExtension(kvm, extension),
 * kvmGetCpuid(kvm), kvmSetCpuid(kvm, entries), kvmCreateVm(kvm),
 * vmSetMemory(vm, slot, gpa, memory, offset, size, readonly), vmDenyMsrs(vm) */
napi_value export_set_error_class(napi_env env, napi_callback_info info);
napi_value export_kvm_open(napi_env env, napi_callback_info info);
napi_value export_kvm_check_extension(napi_env env, napi_callback_info info);
napi_value export_kvm_get_cpuid(napi_env env, napi_callback_info info);
napi_value export_kvm_set_cpuid(napi_env env, napi_callback_info info);
napi_value export_kvm_create_vm(napi_env env, napi_callback_info info);
napi_value export_vm_set_memory(napi_env env, napi_callback_info info);
napi_value export_vm_deny_msrs(napi_env env, napi_callback_info info);

/* addon_memory.c: memoryCreate(kind, size, fd, offset, huge), memoryBuffer(memory),
 * memoryAddress(memory), memoryFd(memory), memoryWriteTo(memory, fd, size),
 * memoryRuns(memory, base | null), memoryWritten(memory), memoryReplace(memory, hasFile, fd),
 * memoryPopulate(memory, runs), fileUncache(fd), fileLock(fd), threadFaults() */
napi_value export_memory_create(napi_env env, napi_callback_info info);
napi_value export_memory_buffer(napi_env env, napi_callback_info info);
napi_value export_memory_address(napi_env env, napi_callback_info info);
napi_value export_memory_fd(napi_env env, napi_callback_info info);
napi_value export_memory_write_to(napi_env env, napi_callback_info info);
napi_value export_memory_written(napi_env env, napi_callback_info info);
napi_value export_file_uncache(napi_env env, napi_callback_info info);
napi_value export_file_lock(napi_env env, napi_callback_info info);
napi_value export_memory_replace(napi_env env, napi_callback_info info);
napi_value export_memory_populate(napi_env env, napi_callback_info info);
napi_value export_memory_runs(napi_env env, napi_callback_info info);
napi_value export_thread_faults(napi_env env, napi_callback_info info);

/* addon_vcpu.c: vcpuCreate(vm, id), vcpuRunPage(vcpu), vcpuGetState(vcpu, state),
 * vcpuSetState(vcpu, state, bytes), vcpuGetMsrs(vcpu, entries), vcpuSetMsrs(vcpu, entries),
 * vcpuRun(vcpu), vcpuCompleteIo(vcpu), vcpuSetClock(vcpu, memory | null, offset),
 * vcpuSetSlice(vcpu, us), vcpuKickToken(vcpu), kick(token) */
napi_value export_vcpu_create(napi_env env, napi_callback_info info);
napi_value export_vcpu_run_page(napi_env env, napi_callback_info info);
napi_value export_vcpu_get_state(napi_env env, napi_callback_info info);
napi_value export_vcpu_set_state(napi_env env, napi_callback_info info);
napi_value export_vcpu_get_msrs(napi_env env, napi_callback_info info);
napi_value export_vcpu_set_msrs(napi_env env, napi_callback_info info);
napi_value export_vcpu_run(napi_env env, napi_callback_info info);
napi_value export_vcpu_complete_io(napi_env env, napi_callback_info info);
napi_value export_vcpu_set_clock(napi_env env, napi_callback_info info);
napi_value export_vcpu_set_slice(napi_env env, napi_callback_info info);
napi_value export_vcpu_kick_token(napi_env env, napi_callback_info info);
napi_value export_kick(napi_env env, napi_callback_info info);

/* addon_rewind.c: rewinderCreate(memory, template, vcpu | null, regs, sregs, excluded, guarded, pagesMax,
 * flush),
 * rewinderRewind(rewinder), rewinderDirtyPages(rewinder), rewinderRewindAndRun(rewinder),
 * rewinderPagesCopied(rewinder), rewinderGuardWritten(rewinder),
 * rewinderOverBudget(rewinder) */
napi_value export_rewinder_create(napi_env env, napi_callback_info info);
napi_value export_rewinder_rewind(napi_env env, napi_callback_info info);
napi_value export_rewinder_dirty_pages(napi_env env, napi_callback_info info);
napi_value export_rewinder_rewind_and_run(napi_env env, napi_callback_info info);
napi_value export_rewinder_pages_copied(napi_env env, napi_callback_info info);

#endif
