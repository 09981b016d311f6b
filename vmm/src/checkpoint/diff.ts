/** What sets two checkpoints apart: pages by region, and vCPU, devices and manifest in words. */
import { regsView, sregsView } from '../kvm/index.js';
import { exceptionWaits, type VcpuState } from '../machine/vcpu-state.js';
import type { BusState } from '../virtio/index.js';
import { ChainMemory, type Link } from './chain-memory.js';
import { type Manifest, PAGE } from './manifest.js';
import { BLOCK, pieces, unite } from './pages.js';
import { Regions } from './regions.js';
import type { CheckpointStore } from './store.js';

export interface RegionDiff {
  name: string;
  pages: number;
  /** Pairs [first page, count] of guest-physical memory. */
  runs: [first: number, count: number][];
}

export interface Change {
  /** 'manifest', 'vcpu' or the name of a device. */
  part: string;
  what: string;
  /** null: not there. */
  from: string | null;
  to: string | null;
}

export interface CheckpointDiff {
  from: string;
  to: string;
  /** Pages that differ; null where the memories have different sizes. */
  pages: number | null;
  /** The most changed first. */
  regions: RegionDiff[];
  changes: Change[];
}

/**
 * Compares what machines of the one and the other start from, whether they are related or not.
 * Throws MAYFLY_CHECKPOINT_UNKNOWN, _DAMAGED, _VERSION.
 */
export async function diffCheckpoints(
  store: CheckpointStore,
  from: string,
  to: string,
): Promise<CheckpointDiff> {
  return store.reading(from, (older) =>
    store.reading(to, async (newer) => diffOf(await store.chain(older), await store.chain(newer))),
  );
}

function diffOf(from: readonly Link[], to: readonly Link[]): CheckpointDiff {
  const [a, b] = [from.at(-1)!, to.at(-1)!];
  const sameSize = a.manifest.memory.size === b.manifest.memory.size;
  const regions = sameSize ? memoryDiff(from, to) : [];
  return {
    from: a.manifest.name,
    to: b.manifest.name,
    pages: sameSize ? regions.reduce((sum, { pages }) => sum + pages, 0) : null,
    regions,
    changes: [
      ...manifestChanges(a.manifest, b.manifest),
      ...vcpuChanges(a.state.vcpu, b.state.vcpu),
      ...compare('clock', '', clockOf(a), clockOf(b)),
      ...deviceChanges(a.state.devices, b.state.devices),
    ],
  };
}

function memoryDiff(from: readonly Link[], to: readonly Link[]): RegionDiff[] {
  const a = new ChainMemory(from);
  try {
    const b = new ChainMemory(to);
    try {
      return byRegion(differing(a, b, unshared(from, to)), new Regions(b));
    } finally {
      b.close();
    }
  } finally {
    a.close();
  }
}

/** Pages that one of them stores and the other does not share: all others are the same. */
function unshared(from: readonly Link[], to: readonly Link[]): Uint32Array {
  let shared = 0;
  while (shared < from.length && from[shared]!.manifest.id === to[shared]?.manifest.id) shared++;
  const links = [...from.slice(shared), ...to.slice(shared)];
  return links.map(({ state }) => state.runs).reduce(unite, new Uint32Array());
}

/** Those of `runs` that are not the same in both. */
function* differing(a: ChainMemory, b: ChainMemory, runs: Uint32Array): Generator<number> {
  const buffers = [Buffer.allocUnsafe(BLOCK), Buffer.allocUnsafe(BLOCK)] as const;
  for (const [offset, length] of pieces(runs)) {
    const [one, other] = buffers.map((buffer) => buffer.subarray(0, length)) as [Buffer, Buffer];
    a.read(one, offset);
    b.read(other, offset);
    for (let at = 0; at < length; at += PAGE) {
      const end = at + PAGE;
      if (one.compare(other, at, end, at, end) !== 0) yield (offset + at) / PAGE;
    }
  }
}

function byRegion(pages: Iterable<number>, regions: Regions): RegionDiff[] {
  const found = new Map<string, RegionDiff>();
  for (const page of pages) {
    const name = regions.nameOf(page);
    const region = found.get(name) ?? { name, pages: 0, runs: [] };
    found.set(name, region);
    region.pages++;
    const last = region.runs.at(-1);
    if (last !== undefined && last[0] + last[1] === page) last[1]++;
    else region.runs.push([page, 1]);
  }
  return [...found.values()].sort((a, b) => b.pages - a.pages);
}

const clockOf = ({ state }: Link) => ({
  'guest uptime': `${(Number(state.capturedAt / 1000n) / 1e6).toFixed(3)} s`,
});

/* ---- in words ---- */

function manifestChanges(a: Manifest, b: Manifest): Change[] {
  const shown = (m: Manifest) => ({
    command: m.command.join(' '),
    memory: `${m.memory.size / 2 ** 20} MiB`,
    'guest kernel': m.kernel.slice(0, 12),
    'guest kernel ABI': m.abi,
    'state version': m.state.version,
    processor: m.cpu.model,
    layers: m.layers.map(({ digest }) => digest.slice(0, 12)).join(' '),
    'CPU features': m.cpu.features.join(' '),
  });
  return compare('manifest', '', shown(a), shown(b));
}

function vcpuChanges(a: VcpuState, b: VcpuState): Change[] {
  const shown = (state: VcpuState) => ({
    ...valuesOf(regsView(state.regs)),
    ...valuesOf(sregsView(state.sregs)),
    ...xcrOf(state.xcrs),
    ...debugRegsOf(state.debugRegs),
    exception: waitingException(state.events),
    ...Object.fromEntries(state.msrs.map(([i, value]) => [`MSR 0x${i.toString(16)}`, value])),
    ...vectorOf(state.xsave),
  });
  return compare('vcpu', '', shown(a), shown(b));
}

/** Accessors become values, segments `cs.base` and so on. */
function valuesOf(view: object, prefix = ''): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const name in view) {
    const value = view[name as keyof typeof view] as unknown;
    if (typeof value === 'object') Object.assign(values, valuesOf(value!, `${name}.`));
    else values[`${prefix}${name}`] = value;
  }
  return values;
}

/** struct kvm_xcrs: XCR0 is the first and only one. */
const xcrOf = (xcrs: ArrayBuffer) => ({ xcr0: new DataView(xcrs).getBigUint64(16, true) });

function debugRegsOf(debugRegs: ArrayBuffer) {
  const [dr0, dr1, dr2, dr3, dr6, dr7] = new BigUint64Array(debugRegs);
  return { dr0, dr1, dr2, dr3, dr6, dr7 };
}

/** The vector that is to be delivered at the next entry (struct kvm_vcpu_events). */
const waitingException = (events: ArrayBuffer) =>
  exceptionWaits(events) ? new Uint8Array(events)[1] : undefined;

/** Where vector registers lie in an XSAVE area (Intel SDM vol. 1, 13.4). */
const VECTOR_PARTS = [
  ['x87 registers', 0, 160],
  ['SSE registers', 160, 416],
  ['AVX registers', 576, 832],
  ['other vector state', 832, undefined],
] as const;

function vectorOf(xsave: ArrayBuffer | undefined): Record<string, unknown> {
  if (xsave === undefined) return { 'vector state': 'in guest memory' };
  const parts = VECTOR_PARTS.map(([name, start, end]) => [
    name,
    new Uint8Array(xsave).subarray(start, end),
  ]);
  return { 'vector state': 'in the vCPU', ...Object.fromEntries(parts) };
}

const QUEUES: Readonly<Record<string, readonly string[]>> = {
  console: [
    'stdin queue',
    'stdout queue',
    'control queue to the guest',
    'control queue from the guest',
    'unused queue',
    'stderr queue',
  ],
  entropy: ['queue'],
  vsock: ['queue to the guest', 'queue from the guest', 'event queue'],
};

const WORDS: Readonly<Record<string, string>> = {
  lastAvail: 'buffers taken',
  usedIdx: 'buffers returned',
  interruptStatus: 'interrupt status',
  configGeneration: 'configuration generation',
  config: 'configuration',
  input: 'bytes that the guest or host has not read',
  output: 'bytes that wait for the guest',
  inputEnded: 'end of input',
};

function deviceChanges(a: BusState, b: BusState): Change[] {
  return a.transports.flatMap(({ device, version: _, ...registers }, i) => {
    const other = b.transports[i]!;
    const { device: otherDevice, version: __, ...otherRegisters } = other;
    const shown = ({ queues, specific, device: _, version: __, ...rest }: typeof device) => ({
      ...rest,
      ...Object.fromEntries(queues.map((queue, n) => [QUEUES[device.device]?.[n] ?? n, queue])),
      ...specificOf(specific),
    });
    return compare(
      device.device,
      '',
      { ...registers, ...shown(device) },
      { ...otherRegisters, ...shown(otherDevice) },
    );
  });
}

/** Streams by their ports instead of by their places in a list. */
function specificOf(specific: unknown): object {
  const { connections = [], ...rest } = (specific ?? {}) as {
    connections?: { hostPort: number; guestPort: number }[];
  };
  const streams = connections.map((c) => [`stream ${c.hostPort}-${c.guestPort}`, c]);
  return { ...rest, ...Object.fromEntries(streams) };
}

/** One line for each leaf that differs; a branch that is on one side only is one line. */
function compare(part: string, what: string, from: unknown, to: unknown): Change[] {
  if (isBranch(from) && isBranch(to)) {
    const names = new Set([...Object.keys(from), ...Object.keys(to)]);
    return [...names].flatMap((name) =>
      compare(part, [what, WORDS[name] ?? name].filter(Boolean).join(': '), from[name], to[name]),
    );
  }
  if (from instanceof Uint8Array && to instanceof Uint8Array) {
    if (Buffer.from(from.buffer, from.byteOffset, from.length).equals(to)) return [];
    const isOther = from.length === to.length ? ', other ones' : '';
    return [{ part, what, from: shownOf(from), to: `${shownOf(to)}${isOther}` }];
  }
  return from === to ? [] : [{ part, what, from: shownOf(from), to: shownOf(to) }];
}

function isBranch(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !(value instanceof Uint8Array);
}

function shownOf(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return isBranch(value) ? 'there' : String(value);
}
