/**
 * What the state file of a checkpoint must look like. Who adds, removes or changes a field of a device's state finds it
 * here by the compiler, and a test asks for another STATE_VERSION.
 */
import type { ConsoleState } from '../devices/console.js';
import { consoleLimits, vsockLimits } from '../devices/index.js';
import type { VsockState } from '../devices/vsock.js';
import type { ConnectionState } from '../devices/vsock-connection.js';
import type { PendingReset } from '../devices/vsock-sender.js';
import {
  DEBUG_REGS_SIZE,
  EVENTS_SIZE,
  REGS_SIZE,
  SREGS_SIZE,
  XCRS_SIZE,
  XSAVE_SIZE_MAX,
  XSAVE_SIZE_MIN,
} from '../kvm/index.js';
import { SYSTEM_CALL_MSRS, type VcpuState } from '../machine/vcpu-state.js';
import type { BusState, DeviceState, QueueState, TransportState } from '../virtio/index.js';
import {
  bytes,
  decimal,
  exactly,
  flag,
  integer,
  list,
  numbers,
  optional,
  record,
  type Shape,
  tuple,
} from './shape.js';

const u8 = integer(0xff);
const u16 = integer(0xffff);
const u32 = integer(0xffff_ffff);
/** A double keeps its upper 53 bits, which is enough to see that it lies outside of the memory. */
const address = integer(2 ** 64);
const BYTES_MAX = 1 << 30;
const CONFIG_BYTES_MAX = 256;
/** 4 GiB of guest memory. */
const PAGES_MAX = 1 << 20;

const vcpu = record<VcpuState>({
  regs: bytes(REGS_SIZE, REGS_SIZE),
  sregs: bytes(SREGS_SIZE, SREGS_SIZE),
  xsave: optional(bytes(XSAVE_SIZE_MAX, XSAVE_SIZE_MIN)),
  xcrs: bytes(XCRS_SIZE, XCRS_SIZE),
  events: bytes(EVENTS_SIZE, EVENTS_SIZE),
  debugRegs: bytes(DEBUG_REGS_SIZE, DEBUG_REGS_SIZE),
  msrs: tuple(...SYSTEM_CALL_MSRS.map(([index]) => tuple(exactly(index), decimal))),
});

const queue = record<QueueState>({
  size: u32,
  ready: flag,
  descriptors: address,
  driver: address,
  device: address,
  lastAvail: u16,
  usedIdx: u16,
});

function device(name: string, queues: number, specific: Shape): Shape {
  return record<TransportState>({
    version: exactly(1),
    deviceFeaturesSel: u32,
    driverFeaturesSel: u32,
    queueSel: u32,
    device: record<DeviceState>({
      version: exactly(1),
      device: exactly(name),
      status: u8,
      features: tuple(u32, u32),
      interruptStatus: u32,
      configGeneration: u32,
      config: bytes(CONFIG_BYTES_MAX),
      queues: tuple(...new Array<Shape>(queues).fill(queue)),
      specific,
    }),
  });
}

const { ports } = consoleLimits;

const console = record<ConsoleState>({
  input: bytes(BYTES_MAX),
  inputEnded: flag,
  closeSent: flag,
  pending: tuple(...new Array<Shape>(ports).fill(integer(7))),
});

const connection = record<ConnectionState>({
  hostPort: u32,
  guestPort: u32,
  phase: exactly('connecting', 'open'),
  pending: integer(7),
  sent: u32,
  peerBufAlloc: u32,
  peerFwdCnt: u32,
  bufAlloc: integer(vsockLimits.bufAlloc),
  fwdCnt: u32,
  toldFwdCnt: u32,
  hostEnded: flag,
  shutdownSent: integer(3),
  peerShutdown: integer(3),
  endSeen: flag,
  paused: flag,
  creditAsked: flag,
  output: bytes(BYTES_MAX),
  input: bytes(vsockLimits.bufAlloc),
});

const reset = record<PendingReset>({
  cidLow: u32,
  cidHigh: u32,
  hostPort: u32,
  guestPort: u32,
  type: u16,
});

const vsock = record<VsockState>({
  connections: distinct(list(connection, vsockLimits.connections)),
  resets: list(reset, vsockLimits.resets),
  nextPort: u32,
});

/** Two streams between the same ports would be one object. */
function distinct(connections: Shape): Shape {
  return {
    text: connections.text,
    problem(value, at) {
      const problem = connections.problem(value, at);
      if (problem !== undefined) return problem;
      const all = value as ConnectionState[];
      const ports = new Set(all.map(({ hostPort, guestPort }) => `${hostPort} ${guestPort}`));
      return ports.size === all.length ? undefined : `${at} has two streams between the same ports`;
    },
  };
}

/** As it is in the file. */
interface EncodedState {
  vcpu: unknown;
  devices: unknown;
  capturedAt: unknown;
  runs: unknown;
}

export const stateShape = record<EncodedState>({
  vcpu,
  devices: record<BusState>({
    version: exactly(1),
    transports: tuple(
      device('console', 2 * ports + 2, console),
      device('entropy', 1, exactly(null)),
      device('vsock', 3, vsock),
    ),
  }),
  capturedAt: decimal,
  runs: numbers(2 * PAGES_MAX),
});
