/** Numbers of the virtio 1.2 specification that host devices and test drivers share. */

/** Device status bits (2.1). */
export const status = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  DEVICE_NEEDS_RESET: 64,
  FAILED: 128,
} as const;

/** Feature bit numbers that belong to no device type (section 6). */
export const feature = {
  RING_INDIRECT_DESC: 28,
  RING_EVENT_IDX: 29,
  VERSION_1: 32,
} as const;

/** Flags of a descriptor (2.7.5). */
export const descriptorFlag = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;

/** Bytes of one descriptor. */
export const DESCRIPTOR_SIZE = 16;

/** Flag in the used ring: the driver need not kick (2.7.8; without EVENT_IDX). */
export const USED_F_NO_NOTIFY = 1;

/** InterruptStatus bits (4.2.2). */
export const interrupt = { USED_BUFFER: 1, CONFIG_CHANGE: 2 } as const;

/** Register offsets of the MMIO transport, version 2 (4.2.2). */
export const register = {
  MAGIC_VALUE: 0x000,
  VERSION: 0x004,
  DEVICE_ID: 0x008,
  VENDOR_ID: 0x00c,
  DEVICE_FEATURES: 0x010,
  DEVICE_FEATURES_SEL: 0x014,
  DRIVER_FEATURES: 0x020,
  DRIVER_FEATURES_SEL: 0x024,
  QUEUE_SEL: 0x030,
  QUEUE_NUM_MAX: 0x034,
  QUEUE_NUM: 0x038,
  QUEUE_READY: 0x044,
  QUEUE_NOTIFY: 0x050,
  INTERRUPT_STATUS: 0x060,
  INTERRUPT_ACK: 0x064,
  STATUS: 0x070,
  QUEUE_DESC_LOW: 0x080,
  QUEUE_DESC_HIGH: 0x084,
  QUEUE_DRIVER_LOW: 0x090,
  QUEUE_DRIVER_HIGH: 0x094,
  QUEUE_DEVICE_LOW: 0x0a0,
  QUEUE_DEVICE_HIGH: 0x0a4,
  SHM_SEL: 0x0ac,
  SHM_LEN_LOW: 0x0b0,
  SHM_LEN_HIGH: 0x0b4,
  SHM_BASE_LOW: 0x0b8,
  SHM_BASE_HIGH: 0x0bc,
  CONFIG_GENERATION: 0x0fc,
  CONFIG: 0x100,
} as const;

export const MAGIC = 0x74726976; // "virt"
export const MMIO_VERSION = 2;
/** "MFLY": ours to choose (4.2.2). */
export const VENDOR_ID = 0x594c464d;
