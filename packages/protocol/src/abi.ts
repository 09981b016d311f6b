/**
 * The contract between the VMM and the guest kernel: addresses, ports and the shared page.
 * Written once, here; `abi-header.ts` turns it into `firmware/include/abi.h`.
 * docs/guest-abi.md explains it.
 */

/** Raised whenever a number or a field below changes its meaning. */
export const ABI_VERSION = 3;

/** Guest-physical and guest-virtual layout. RAM is one slot at GPA 0. */
export const layout = {
  /** First bytes of RAM: tables that the VMM builds. */
  GDT_GPA: 0x1000,
  TSS_GPA: 0x2000,
  IDT_GPA: 0x3000,
  SHARED_GPA: 0x4000,
  BOOT_GPA: 0x5000,
  /** Top of the exception stack (IST1), 16 KiB below it. */
  IST_TOP_GPA: 0xc000,
  /** Page tables: the root first, then a pool that the VMM starts to use and the guest kernel goes on with. */
  PT_GPA: 0x10000,
  PT_END_GPA: 0x200000,
  /** The guest kernel's image. */
  KERNEL_GPA: 0x200000,
  KERNEL_VA: 0x70000000,
  /** Its first page is all that runs at CPL 0: LSTAR's target, and the page fault's gate's. */
  CPL0_SIZE: 0x1000,
  SYSCALL_TRAP_VA: 0x70000000,
  PAGE_FAULT_STUB_VA: 0x70000040,
  /** The other exceptions' gates: 32 stubs, 16 bytes each. */
  EXCEPTION_STUBS_VA: 0x70001000,
  /** Arguments, environment: NUL-terminated strings, behind the kernel's text. */
  STRINGS_GPA: 0x300000,
  STRINGS_SIZE: 0x100000,
  /** The kernel window maps GPA 0 upward at this address: KERNEL_VA - KERNEL_GPA. */
  WINDOW_VA: 0x6fe00000,
  WINDOW_SIZE: 0x2000000,
  /** All RAM, all images and the MMIO pages, mapped linearly. */
  RAM_VA: 0x7e0000000000,
  IMAGE_VA: 0x7d0000000000,
  MMIO_VA: 0x7c0000000000,
  IMAGE_GPA: 0x2000000000,
  MMIO_GPA: 0x1000000000,
  MMIO_STRIDE: 0x1000,
} as const;

/** Virtual addresses that programs get. */
export const arenas = {
  USER_MIN: 0x10000,
  PROGRAM_END: 0x6f000000,
  LOW_ARENA: 0x80000000,
  LOW_ARENA_END: 0xefe00000,
  HIGH_ARENA: 0x1000000000,
  HIGH_ARENA_END: 0x40000000000,
  RESERVE_ARENA: 0x40000000000,
  /** Shared mappings of files: each block needs a table, none needs RAM of its own. */
  SHARED_ARENA: 0x600000000000,
  RESERVE_ARENA_END: 0x700000000000,
} as const;

/** Selectors of the GDT that the VMM builds. */
export const selectors = {
  KERNEL_CS: 0x10,
  KERNEL_DS: 0x18,
  USER_DS: 0x2b,
  USER_CS: 0x33,
  TSS_SEL: 0x40,
} as const;

/** Every exit that the guest asks for is a 32-bit OUT to one of these ports (never an IN). */
export const ports = {
  /** Nothing to do: look at all queues; come back at shared.idle_deadline or on input. */
  PORT_IDLE: 0x600,
  /** The machine ends; the value is the program's wait status (exit code << 8, or signal). */
  PORT_EXIT: 0x604,
  /** The guest kernel gave up; shared.panic_* tell why. */
  PORT_PANIC: 0x608,
  /** A present mapping was changed: flush the guest's TLB and come back. */
  PORT_FLUSH: 0x60c,
  /** Rings are full or input is wanted now: look at all queues and come back at once. */
  PORT_POLL: 0x610,
  /** The program asks for a checkpoint of this moment; in a clone of it the OUT returns with another generation. */
  PORT_CHECKPOINT: 0x618,
  /** The program stands still, the value is a signal; shared.debug_* describe it. Come back to go on. */
  PORT_STOP: 0x614,
} as const;

export const flags = {
  BOOT_STRACE: 1,
  BOOT_VERBOSE: 2,
  /** A debugger listens: stop at the entry, at breakpoints and at signals; do not patch system-call sites. */
  BOOT_DEBUG: 4,
} as const;

/** Bits of PORT_EXIT's value above the wait status. */
export const exitFlags = {
  /** A signal that dumps core ended the program: shared.debug_* describe it. */
  EXIT_DESCRIBED: 0x10000,
} as const;

/**
 * The guest's network: docs/networking.md; what is said on NET_PORT: docs/guest-abi.md. IPv4 addresses as numbers; they are
 * link-local, so that they hide no host of the outside.
 */
export const network = {
  NET_PORT: 1025,
  NET_REQUEST_SIZE: 24,
  NET_ANSWER_SIZE: 8,
  NET_STREAM: 1,
  NET_DATAGRAM: 2,
  /** 169.254.77.1: the host's loopback. */
  NET_HOST_IP: 0xa9fe4d01,
  /** 169.254.77.2: the guest. */
  NET_GUEST_IP: 0xa9fe4d02,
  /** 169.254.77.53: the name server. */
  NET_DNS_IP: 0xa9fe4d35,
  NET_DNS_PORT: 53,
  /** Longest datagram of the name server. */
  NET_DATAGRAM_MAX: 4096,
} as const;

type FieldType = 'u32' | 'u64' | `${'u8' | 'u32' | 'u64'}[${number}]`;
export type Field = readonly [name: string, type: FieldType, comment: string];

/** The shared page: IN is written by the VMM, OUT by the guest. */
export const sharedFields = [
  [
    'tsc_base',
    'u64',
    'IN  TSC at the entry; differs at each, so a reader that finds it changed starts again',
  ],
  ['mono_base', 'u64', 'IN  CLOCK_MONOTONIC at tsc_base, ns'],
  ['wall_base', 'u64', 'IN  CLOCK_REALTIME at tsc_base, ns'],
  ['tsc_mult', 'u64', 'IN  ns = (tsc - tsc_base) * mult >> shift'],
  ['tsc_shift', 'u64', 'IN'],
  [
    'mono_offset',
    'u64',
    'IN  added to CLOCK_MONOTONIC: a clone goes on at the time of its template, no timer is late',
  ],
  ['mono_last', 'u64', 'OUT the latest CLOCK_MONOTONIC that was told: it never goes back'],
  ['generation', 'u64', 'IN  another number after each clone or rewind'],
  ['pid', 'u64', 'IN  process id of the program in this generation'],
  ['entropy', 'u8[64]', 'IN  fresh random bytes of this generation'],
  ['preempt_pending', 'u32', 'IN  set when an upcall could not be delivered'],
  ['upcall_entry', 'u64', 'OUT address of the upcall handler'],
  ['kernel_start', 'u64', 'OUT no upcall while rip is in [kernel_start, kernel_end)'],
  ['kernel_end', 'u64', 'OUT'],
  [
    'kstack_top',
    'u64',
    'OUT stack for the upcall frame: the running thread’s kernel stack, empty while it runs user code',
  ],
  [
    'idle_deadline',
    'u64',
    'OUT the host’s CLOCK_MONOTONIC ns at which to come back, ~0 = only on input',
  ],
  ['panic_message', 'u8[256]', 'OUT NUL-terminated'],
  ['panic_rip', 'u64', 'OUT'],
  ['panic_frame', 'u64', 'OUT frame pointer of the function that panicked'],
  [
    'panic_regs',
    'u64',
    'OUT the kernel’s registers (struct regs) when it panicked in an exception, else 0',
  ],
  ['stat_traps', 'u64', 'OUT system calls that trapped (unpatched)'],
  ['stat_patched', 'u64', 'OUT sites patched'],
  ['stat_blocks', 'u64', 'OUT 2 MiB blocks in use'],
  ['stat_syscalls', 'u64', 'OUT system calls'],
  ['stat_switches', 'u64', 'OUT thread switches'],
  ['stat_edits', 'u64', 'OUT page-table entries of the program written'],
  ['stat_flushes', 'u64', 'OUT exits to PORT_FLUSH'],
  ['debug_request', 'u32', 'IN  stop at the next opportunity with PORT_STOP; the guest clears it'],
  ['debug_only', 'u64', 'IN  thread id: no other thread may run; 0 = all may'],
  [
    'debug_signal',
    'u64',
    'IN  at the end of a stop: the signal that the program is to get, 0 = none',
  ],
  [
    'debug_write',
    'u64',
    'IN  at the end of a stop: give the page at this address bytes of its own and stop again; 0 = go on',
  ],
  ['debug_tid', 'u64', 'OUT thread that the stop is about'],
  [
    'debug_threads',
    'u64',
    'OUT array of struct debug_thread; this and what follows are virtual addresses',
  ],
  ['debug_thread_count', 'u64', 'OUT'],
  ['debug_maps', 'u64', 'OUT text of /proc/PID/maps'],
  ['debug_maps_size', 'u64', 'OUT bytes'],
  ['debug_auxv', 'u64', 'OUT auxiliary vector on the program’s stack, 0 = not there yet'],
  ['debug_xsave_size', 'u64', 'OUT bytes of a thread’s vector state'],
  ['debug_code', 'u64', 'OUT si_code of the signal that killed the program'],
  ['debug_fault', 'u64', 'OUT its si_addr, if it came of a fault'],
  ['debug_error', 'u64', 'OUT the processor’s error code of the thread’s last fault'],
  [
    'debug_exec',
    'u64',
    'OUT path of the program that execve has just begun, NUL-terminated; 0 = another stop',
  ],
  [
    'net_ports',
    'u32[16]',
    'OUT when the host’s connection was refused: the first TCP ports that are listened on, 0 = no more',
  ],
] as const satisfies readonly Field[];

/** One thread of a stopped program: an element of debug_threads. */
export const debugThreadFields = [
  ['tid', 'u64', 'thread id'],
  ['regs', 'u64', 'struct regs of firmware/include/sched.h; going on uses what is there then'],
  ['xsave', 'u64', 'XSAVE area in the standard format'],
  ['fs_base', 'u64', 'where fs.base is kept'],
  ['gs_base', 'u64', 'where gs.base is kept'],
  ['name', 'u8[16]', 'NUL-terminated'],
] as const satisfies readonly Field[];

/** The boot page: written by the VMM before the first instruction. */
export const bootFields = [
  ['abi_version', 'u64', 'ABI_VERSION'],
  ['ram_size', 'u64', 'bytes, multiple of 2 MiB'],
  ['pt_next', 'u64', 'GPA of the first free page of the page-table pool'],
  ['flags', 'u64', 'BOOT_*'],
  ['device_count', 'u64', 'virtio-mmio devices from MMIO_GPA on'],
  ['argc', 'u64', 'strings at STRINGS_GPA: argv, then envp'],
  ['envc', 'u64', ''],
  ['strings_size', 'u64', 'bytes'],
  ['cwd', 'u64', 'offset of the working directory in the strings'],
  ['execfn', 'u64', 'offset of the program’s path in the strings'],
  ['image_count', 'u64', 'EROFS layers, bottom first'],
  ['image_gpa', 'u64[16]', ''],
  ['image_size', 'u64[16]', 'bytes'],
  ['hostname', 'u8[64]', 'NUL-terminated'],
  ['uid', 'u32', 'user that the program begins as'],
  ['gid', 'u32', 'its group'],
  ['group_count', 'u64', 'supplementary groups'],
  ['groups', 'u32[256]', ''],
] as const satisfies readonly Field[];

function sizeOf(type: FieldType): [size: number, align: number] {
  const array = /^(u8|u32|u64)\[(\d+)\]$/.exec(type);
  const scalar = { u8: 1, u32: 4, u64: 8 }[(array?.[1] ?? type) as 'u8' | 'u32' | 'u64'];
  return [scalar * Number(array?.[2] ?? 1), scalar];
}

type Offsets<F extends readonly Field[]> = { readonly [K in F[number][0]]: number };

function offsetsOf<F extends readonly Field[]>(fields: F): Offsets<F> {
  const offsets: Record<string, number> = {};
  let at = 0;
  for (const [name, type] of fields) {
    const [size, align] = sizeOf(type);
    at = Math.ceil(at / align) * align;
    offsets[name] = at;
    at += size;
  }
  if (at > 4096) throw new RangeError('an ABI page is larger than a page');
  return offsets as Offsets<F>;
}

/** Byte offsets of the fields in their page. */
export const shared = offsetsOf(sharedFields);
export const boot = offsetsOf(bootFields);
export const debugThread = offsetsOf(debugThreadFields);
export const DEBUG_THREAD_SIZE = 56;
