/** The state file of a checkpoint: vCPU, devices and the list of stored pages, as MessagePack. */
import { Packr } from 'msgpackr';
import type { MachineState } from '../machine/machine-state.js';
import { damaged } from './manifest.js';
import { areRuns } from './pages.js';

export interface StoredState extends MachineState {
  /** Pairs [first page, count] of what the memory file holds. */
  runs: Uint32Array;
}

const packr = new Packr({ useRecords: false, mapsAsObjects: true, copyBuffers: true });

const toBytes = (buffer: ArrayBuffer) => Buffer.from(buffer);
const toBuffer = (bytes: Uint8Array) => Uint8Array.from(bytes).buffer;

/** Numbers, texts, arrays and byte strings only: any MessagePack reader makes sense of it. */
export function encodeState(state: StoredState): Buffer {
  const { regs, sregs, xsave, xcrs, msrs } = state.vcpu;
  return packr.pack({
    vcpu: {
      regs: toBytes(regs),
      sregs: toBytes(sregs),
      xsave: xsave === undefined ? null : toBytes(xsave),
      xcrs: toBytes(xcrs),
      msrs: msrs.map(([index, value]) => [index, value.toString()]),
    },
    devices: state.devices,
    capturedAt: state.capturedAt.toString(),
    runs: [...state.runs],
  });
}

/** `memorySize` bounds the runs. Throws MAYFLY_CHECKPOINT_DAMAGED. */
export function decodeState(bytes: Uint8Array, memorySize: number): StoredState {
  try {
    const { vcpu, devices, capturedAt, runs } = packr.unpack(bytes);
    const pages = Uint32Array.from(runs as number[]);
    if (!areRuns(pages, memorySize)) throw new RangeError('pages outside the memory');
    return {
      vcpu: {
        regs: toBuffer(vcpu.regs),
        sregs: toBuffer(vcpu.sregs),
        xsave: vcpu.xsave === null ? undefined : toBuffer(vcpu.xsave),
        xcrs: toBuffer(vcpu.xcrs),
        msrs: vcpu.msrs.map(([index, value]: [number, string]) => [index, BigInt(value)]),
      },
      devices,
      capturedAt: BigInt(capturedAt),
      runs: pages,
    };
  } catch (cause) {
    throw damaged('the state cannot be read', cause);
  }
}
