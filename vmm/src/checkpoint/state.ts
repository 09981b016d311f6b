/** The state file of a checkpoint: vCPU, devices and the list of stored pages, as MessagePack. */
import { Packr } from 'msgpackr';
import type { MachineState } from '../machine/machine-state.js';
import type { BusState } from '../virtio/index.js';
import { damaged } from './manifest.js';
import { areRuns } from './pages.js';
import { stateShape } from './state-shape.js';

export interface StoredState extends MachineState {
  /** Pairs [first page, count] of what the memory file holds. */
  runs: Uint32Array;
}

const packr = new Packr({ useRecords: false, mapsAsObjects: true, copyBuffers: true });

const toBytes = (buffer: ArrayBuffer) => Buffer.from(buffer);
const toBuffer = (bytes: Uint8Array) => Uint8Array.from(bytes).buffer;

/** Numbers, texts, arrays and byte strings only: any MessagePack reader makes sense of it. */
export function encodeState(state: StoredState): Buffer {
  const { regs, sregs, xsave, xcrs, events, debugRegs, msrs } = state.vcpu;
  return packr.pack({
    vcpu: {
      regs: toBytes(regs),
      sregs: toBytes(sregs),
      xsave: xsave === undefined ? null : toBytes(xsave),
      xcrs: toBytes(xcrs),
      events: toBytes(events),
      debugRegs: toBytes(debugRegs),
      msrs: msrs.map(([index, value]) => [index, value.toString()]),
    },
    devices: state.devices,
    capturedAt: state.capturedAt.toString(),
    runs: [...state.runs],
  });
}

/** What encodeState() wrote. */
interface Unpacked {
  vcpu: Record<'regs' | 'sregs' | 'xcrs' | 'events' | 'debugRegs', Uint8Array> & {
    xsave: Uint8Array | null;
    msrs: [number, string][];
  };
  devices: BusState;
  capturedAt: string;
  runs: number[];
}

/** Nothing of a file is used before all of it was found to be what it should. */
function unpack(bytes: Uint8Array): Unpacked {
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch (cause) {
    throw damaged('the state is not MessagePack', cause);
  }
  const problem = stateShape.problem(value, 'state');
  if (problem !== undefined) throw damaged(problem);
  return value as Unpacked;
}

/** `memorySize` bounds the runs. Throws MAYFLY_CHECKPOINT_DAMAGED. */
export function decodeState(bytes: Uint8Array, memorySize: number): StoredState {
  const { vcpu, devices, capturedAt, runs } = unpack(bytes);
  const pages = Uint32Array.from(runs);
  if (!areRuns(pages, memorySize)) {
    throw damaged('the state names pages twice, out of order or outside of the memory');
  }
  return {
    vcpu: {
      regs: toBuffer(vcpu.regs),
      sregs: toBuffer(vcpu.sregs),
      xsave: vcpu.xsave === null ? undefined : toBuffer(vcpu.xsave),
      xcrs: toBuffer(vcpu.xcrs),
      events: toBuffer(vcpu.events),
      debugRegs: toBuffer(vcpu.debugRegs),
      msrs: vcpu.msrs.map(([index, value]) => [index, BigInt(value)]),
    },
    devices,
    capturedAt: BigInt(capturedAt),
    runs: pages,
  };
}
