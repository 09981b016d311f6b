/* Where the monitor lies and what the test tells it: also read by qemu-machine.ts, so each line is one number. */
#pragma once
#define MONITOR_GPA 0x80000000
#define MONITOR_VA 0xffffffff80000000
#define MONITOR_ENTRY 0x1000
#define PARAMETER_CR0 0x00
#define PARAMETER_CR3 0x08
#define PARAMETER_CR4 0x10
#define PARAMETER_EFER 0x18
#define PARAMETER_RIP 0x20
#define PARAMETER_RFLAGS 0x28
#define PARAMETER_CS 0x30
#define PARAMETER_SS 0x38
#define PARAMETER_TR 0x40
#define PARAMETER_GDT_BASE 0x48
#define PARAMETER_GDT_LIMIT 0x50
#define PARAMETER_IDT_BASE 0x58
#define PARAMETER_XCR0 0x60
#define PARAMETER_PROTECTION_STUB 0x68
#define PARAMETER_MSR_COUNT 0x70
#define PARAMETER_MSRS 0x78
/* Written by the monitor. */
#define RESULT_KIND 0x800
#define RESULT_VALUE 0x808
#define KIND_EXIT 1
#define KIND_PANIC 2
#define KIND_MONITOR_FAULT 3
#define KIND_UNKNOWN_PORT 4
