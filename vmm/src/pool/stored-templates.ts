/** Templates in a checkpoint store: what was booted once is loaded by later processes. */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { abi } from '@mayfly/protocol';
import type { Manifest } from '../checkpoint/manifest.js';
import { CheckpointStore, type Loaded } from '../checkpoint/store.js';
import { checkSource } from '../machine/cpl0.js';
import { KernelImage } from '../machine/kernel-image.js';
import type { TemplateSpec } from './types.js';

export interface StoredTemplate {
  loaded: Loaded;
  /** Head of the first frame that its guest sent. */
  readyHead: unknown;
}

/** Longer ones are not kept, and their templates neither. */
const HEAD_BYTES_MAX = 64 * 1024;
const IMAGE_NAME = /^[0-9a-f]{64}\.erofs$/;

export class StoredTemplates {
  readonly directory: string;
  #store: Promise<CheckpointStore> | undefined;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** undefined: there is none, or none that can be used here and now. */
  async load(spec: TemplateSpec): Promise<StoredTemplate | undefined> {
    const store = await this.#open();
    const name = checkpointName(spec);
    const found = name && (await store.find(name).catch(() => undefined));
    if (!found || found.labels?.spec !== digestOf(spec)) return undefined;
    const loaded = await store.load(found.id).catch(() => undefined);
    if (loaded === undefined) return undefined;
    try {
      checkSource(loaded);
      return { loaded, readyHead: JSON.parse(found.labels.ready ?? 'null') };
    } catch {
      loaded.close();
      return undefined;
    }
  }

  /**
   * Makes room for a template: what has its name is removed. How it is to be stored, or undefined when it cannot be found
   * again by what it is made from.
   */
  async place(
    spec: TemplateSpec,
    readyHead: unknown,
  ): Promise<{ name: string; labels: Record<string, string> } | undefined> {
    const name = checkpointName(spec);
    const ready = JSON.stringify(readyHead);
    if (!name || !spec.images.every((path) => IMAGE_NAME.test(basename(path)))) return undefined;
    if (Buffer.byteLength(ready) > HEAD_BYTES_MAX) return undefined;
    const store = await this.#open();
    if (await isThere(store, name)) await store.remove(name);
    const { group = '', version = '' } = spec.stored ?? {};
    return { name, labels: { group, version, spec: digestOf(spec), ready } };
  }

  /** What clones of a stored template write. */
  async keepWorkingSet(id: string, runs: Uint32Array): Promise<void> {
    await (await this.#open()).keepWorkingSet(id, runs);
  }

  /** Removes the versions of a group that are not in `keep`. */
  async prune(group: string, keep: readonly string[]): Promise<void> {
    const store = await this.#open();
    const gone = ({ labels }: Manifest) =>
      labels?.group === group && !keep.includes(labels.version ?? '');
    for (const manifest of (await store.list()).filter(gone)) await store.remove(manifest.id);
  }

  /** Here first, which sweeps; workers use it then. */
  #open(): Promise<CheckpointStore> {
    this.#store ??= CheckpointStore.open(this.directory);
    return this.#store;
  }
}

async function isThere(store: CheckpointStore, name: string): Promise<boolean> {
  return (await store.find(name).catch(() => ({}))) !== undefined;
}

/** For people; the hash keeps names apart that look the same so. */
function checkpointName({ stored }: TemplateSpec): string | undefined {
  if (stored === undefined) return undefined;
  const { group, version } = stored;
  const shown = `${group}.${version}`.replace(/[^A-Za-z0-9._-]/g, '-').slice(0, 40);
  return `template-${shown}-${sha256([group, version]).slice(0, 8)}`;
}

/** All that decides what a template is. Images are called by their content. */
function digestOf(spec: TemplateSpec): string {
  const { images, argv, env, cwd = '/', memoryBytes, network = [], dialect = null } = spec;
  const layers = images.map((path) => basename(path));
  const kernel = [KernelImage.default().digest, abi.ABI_VERSION];
  return sha256([layers, argv, env, cwd, memoryBytes, network, dialect, kernel]);
}

const sha256 = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('hex');
