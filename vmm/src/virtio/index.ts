export * as virtio from './constants.js';
export { type DeviceDescription, type DeviceState, VirtioDevice } from './device.js';
export { MmioTransport, type TransportState } from './mmio.js';
export { type BusState, MmioBus } from './mmio-bus.js';
export { type Chain, type QueueContext, type QueueState, Virtqueue } from './queue.js';
export { SegmentList } from './segments.js';
