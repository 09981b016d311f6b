/** Templates of two guests that answer events: a Node.js function, and a static program. Kept in a folder that goes at the end. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '@mayfly/api/programs';
import { defaultImageDir, ImageStore, treeFromPrograms } from '@mayfly/image';
import { encodeFrame } from '@mayfly/protocol';
import { kvm, type TemplateSpec } from '@mayfly/vmm';
import { CheckpointStore } from '@mayfly/vmm/checkpoint';
import { boot, type Template } from '@mayfly/vmm/clones';
import { guestProgram } from './programs.js';

export type Guest = 'node' | 'static';

const HANDLER = `let count = 0;
export const handler = ({ name }) => ({ hello: name, length: [...name].reverse().length, count: ++count });`;

/** What the functions of the README's figures have, and what a small program needs. */
const MEMORY_BYTES: Record<Guest, number> = { node: 256 << 20, static: 64 << 20 };
const BOOT_TIMEOUT_MS = 300_000;

async function programOf(guest: Guest): Promise<Program> {
  const store = await ImageStore.open(defaultImageDir());
  if (guest === 'node') {
    const file = { bytes: Buffer.from(HANDLER), executable: false };
    const source = { name: 'bench', files: new Map([['index.js', file]]) };
    const { ImageLayers, nodeProgram } = await import('@mayfly/api/programs');
    return nodeProgram(source, new ImageLayers(store));
  }
  const path = guestProgram('agent');
  const image = await store.build(await treeFromPrograms([{ path }]));
  return { images: [image.path], argv: [path], env: {} };
}

/** On a disk: templates are files, and /tmp may be memory. */
export function scratchFolder(): { path: string; remove(): void } {
  const path = mkdtempSync('/var/tmp/mayfly-bench-');
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** What a pool deploys. */
export async function templateSpec(guest: Guest): Promise<TemplateSpec> {
  const program = await programOf(guest);
  const memoryBytes = MEMORY_BYTES[guest];
  return { ...program, name: guest, memoryBytes, bootTimeoutMs: BOOT_TIMEOUT_MS };
}

/** Boots the guest on this thread until it waits for its first frame. */
export async function bootTemplate(guest: Guest, directory: string): Promise<Template> {
  const { bootTimeoutMs, ...spec } = await templateSpec(guest);
  const { head, template } = await boot({
    ...spec,
    kind: 'boot',
    id: 1,
    program: spec.argv[0]!,
    cwd: '/',
    network: [],
    timeoutMs: bootTimeoutMs,
    directory,
  });
  if (template === undefined) throw new Error(`the ${guest} guest said ${JSON.stringify(head)}`);
  return template;
}

/** Stores the guest's template as a checkpoint; returns the store's folder. */
export async function storeCheckpoint(guest: Guest, directory: string): Promise<string> {
  const { memoryFd, memorySize, images, state } = await bootTemplate(guest, directory);
  const memory = kvm.GuestMemory.privateFile(memoryFd, memorySize);
  const folder = join(directory, 'store');
  const store = await CheckpointStore.open(folder);
  await store.create({ name: guest }, { memory, images, state, command: [guest] });
  memory.close();
  return folder;
}

/** A template that begins with a stored checkpoint. */
export async function loadTemplate(guest: Guest, storeFolder: string): Promise<Template> {
  const store = await CheckpointStore.open(storeFolder);
  const { manifest: _, close: __, ...source } = await store.load(guest);
  return { id: 1, name: guest, network: [], ...source };
}

/** One event, as the API sends it. */
export function eventHead() {
  const now = Date.now();
  return {
    type: 'event',
    id: '0198f2c1-7d1e-7c63-a0a8-3f0a5f4f3d11',
    deadlineMs: now + 3_600_000,
    generation: '42',
    entropy: Buffer.alloc(32, 7).toString('base64'),
    now,
  };
}

export const eventBody = (): Uint8Array => Buffer.from('{"name":"mayfly"}');

export const eventFrame = (): Uint8Array => encodeFrame(eventHead(), eventBody());

/** Throws when a guest answered anything but a result. */
export function checkAnswer(head: unknown): void {
  if ((head as { type?: unknown }).type === 'result') return;
  throw new Error(`the guest answered ${JSON.stringify(head)}`);
}
