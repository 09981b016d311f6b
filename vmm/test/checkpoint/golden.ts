/**
 * golden.js: writes golden/v<format>-<state>.tgz anew, a checkpoint `first` and its difference `second` as this version
 * of Mayfly stores them. A later one must load them, or refuse them by their version.
 *
 * The guest is a dozen instructions instead of a kernel: a register and a byte of memory make its exit code.
 */
import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGzip } from 'node:zlib';
import { abi } from '@mayfly/protocol';
import { CheckpointStore, exportCheckpoint } from '../../src/checkpoint/index.js';
import {
  FORMAT_VERSION,
  parseManifest,
  STATE_VERSION,
  textOf,
} from '../../src/checkpoint/manifest.js';
import { GuestMemory, regsView } from '../../src/kvm/index.js';
import { writeDescriptors } from '../../src/machine/boot.js';
import type { MachineState } from '../../src/machine/machine-state.js';
import { PageTables } from '../../src/machine/page-tables.js';
import { INITIAL_RFLAGS } from '../../src/machine/vcpu-state.js';
import { devicesFor, SIZE, stateOf } from './scratch.js';

const { layout, ports } = abi;

export const goldenDir = fileURLToPath(new URL('../../../test/checkpoint/golden', import.meta.url));
export const goldenFile = join(goldenDir, `v${FORMAT_VERSION}-${STATE_VERSION}.tgz`);

const CODE_GPA = layout.KERNEL_GPA;
const BYTE_GPA = layout.KERNEL_GPA + 0x1000;
/** Of a stream that the guest has open, in both. */
export const STREAM = { hostPort: 1024, guestPort: 7 };

/** Exit codes of the two: rbx + the byte. */
export const golden = {
  first: { rbx: 5, byte: 2, exitCode: 7 },
  second: { rbx: 6, byte: 3, exitCode: 9 },
} as const;

const le32 = (value: number) => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
const CODE = [
  ...[0xba, ...le32(ports.PORT_EXIT)], // mov edx, PORT_EXIT
  ...[0x0f, 0xb6, 0x04, 0x25, ...le32(layout.WINDOW_VA + BYTE_GPA)], // movzx eax, byte [...]
  ...[0x01, 0xd8], // add eax, ebx
  ...[0xc1, 0xe0, 8], // shl eax, 8
  0xef, // out dx, eax
];

function memoryOf(byte: number): GuestMemory {
  const memory = GuestMemory.anonymous(SIZE);
  writeDescriptors(new DataView(memory.buffer));
  new PageTables(memory.buffer).map(layout.WINDOW_VA, 0, SIZE, true);
  const bytes = new Uint8Array(memory.buffer);
  bytes.set(CODE, CODE_GPA);
  bytes[BYTE_GPA] = byte;
  return memory;
}

function goldenState(memory: GuestMemory, rbx: number): MachineState {
  const state = stateOf(memory);
  const regs = regsView(state.vcpu.regs);
  regs.rip = BigInt(layout.WINDOW_VA + CODE_GPA);
  regs.rbx = BigInt(rbx);
  regs.rflags = INITIAL_RFLAGS;
  const xcrs = new DataView(state.vcpu.xcrs);
  xcrs.setUint32(0, 1, true); // one register: XCR0, with x87 and SSE
  xcrs.setBigUint64(16, 3n, true);
  return { ...state, devices: usedDevices(memory) };
}

/** With input that waits, an unanswered stream and bytes for it. */
function usedDevices(memory: GuestMemory): MachineState['devices'] {
  const { bus, devices } = devicesFor(memory);
  devices.console.pushInput(Buffer.from('input that nobody read'));
  devices.vsock.connect(STREAM.guestPort).write(Buffer.from('hello'));
  const state = bus.save();
  const vsock = state.transports[2]!.device.specific as { connections: { hostPort: number }[] };
  vsock.connections[0]!.hostPort = STREAM.hostPort;
  return state;
}

/** It needs what any processor has, wherever it was made. */
function runAnywhere(folder: string): void {
  const path = join(folder, 'manifest.json');
  const manifest = parseManifest(readFileSync(path, 'utf8'), path);
  manifest.kernel = '0'.repeat(64); // there is none in it
  manifest.cpu = { vendor: 'any', model: 'any x86-64', features: ['fpu', 'lm', 'sse', 'sse2'] };
  writeFileSync(path, textOf(manifest));
}

async function make(dir: string): Promise<void> {
  const store = await CheckpointStore.open(join(dir, 'store'));
  const image = join(dir, 'image.erofs');
  writeFileSync(image, Buffer.alloc(4096, 'image'));
  const common = { images: [image], command: ['/golden', 'an argument'] };
  const { first, second } = golden;
  const [a, b] = [memoryOf(first.byte), memoryOf(second.byte)];
  const state = (memory: GuestMemory, rbx: number) => goldenState(memory, rbx);
  await store.create({ name: 'first' }, { memory: a, state: state(a, first.rbx), ...common });
  await store.create(
    { name: 'second', parent: 'first' },
    { memory: b, state: state(b, second.rbx), ...common },
    a,
  );
  for (const name of Object.keys(golden)) runAnywhere(join(dir, 'store/checkpoints', name));
  const zip = createGzip({ level: 9 });
  await pipeline(exportCheckpoint(store, 'second'), zip, createWriteStream(goldenFile));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-golden-'));
  await make(dir).finally(() => rmSync(dir, { recursive: true }));
}
