/** Container images: what `docker save` writes, and the OCI image layout (image-spec v1.1), in a tar file or a folder. */
import { createHash } from 'node:crypto';
import { MayflyError } from '@mayfly/protocol';
import { type Chunks, decompress } from './decompress.js';

const JSON_BYTES_MAX = 4 * 1024 * 1024;
const LAYERS_MAX = 1024;
const INDEX_DEPTH_MAX = 4;
const DIGEST = /^sha256:([0-9a-f]{64})$/;

/** Named files of a folder or an archive. */
export interface Blobs {
  /** For messages. */
  readonly name: string;
  get(path: string): Blob | undefined;
}

export interface Blob {
  size: number;
  read(): Chunks;
}

/** How an image wants to be started. */
export interface ImageConfig {
  entrypoint: string[];
  cmd: string[];
  env: Record<string, string>;
  /** '' when the image says nothing. */
  cwd: string;
  user: string;
}

export interface Layer extends Blob {
  /** SHA-256 of the layer's tar, uncompressed, in hex. */
  diffId: string;
}

export interface Container {
  /** SHA-256 of the configuration, in hex, which names all layers: the image's identity. */
  id: string;
  config: ImageConfig;
  layers: Layer[];
}

type Json = Record<string, unknown>;

/** Whether these are a container image's files. */
export function isContainer(blobs: Blobs): boolean {
  return (
    blobs.get('manifest.json') !== undefined ||
    (blobs.get('oci-layout') !== undefined && blobs.get('index.json') !== undefined)
  );
}

/**
 * Finds the image for linux/amd64, its configuration and its layers, bottom first.
 * Throws MAYFLY_IMAGE_ARCHIVE_DAMAGED, MAYFLY_IMAGE_AMBIGUOUS when there are several, MAYFLY_IMAGE_NO_PLATFORM.
 */
export async function readContainer(blobs: Blobs): Promise<Container> {
  const docker = blobs.get('manifest.json') !== undefined;
  const { config, layers } = docker ? await fromDocker(blobs) : await fromLayout(blobs);
  const bytes = await readAll(blobs, config);
  const json = objectOf(blobs, parseJson(blobs, config, bytes));
  checkPlatform(blobs, json);
  const diffIds = strings(blobs, objectOf(blobs, json.rootfs ?? {}).diff_ids);
  if (diffIds.length !== layers.length || layers.length > LAYERS_MAX) {
    throw damaged(blobs, `it has ${layers.length} layers and names ${diffIds.length}`);
  }
  return {
    id: createHash('sha256').update(bytes).digest('hex'),
    config: configOf(blobs, objectOf(blobs, json.config ?? {})),
    layers: layers.map((path, i) => layerOf(blobs, path, diffIds[i]!)),
  };
}

function layerOf(blobs: Blobs, path: string, diffId: string): Layer {
  const blob = blobs.get(path);
  if (blob === undefined) throw damaged(blobs, `the layer ${path} is missing`);
  return { size: blob.size, read: () => blob.read(), diffId: hexOf(blobs, diffId) };
}

/** The layer's tar; ends with MAYFLY_IMAGE_ARCHIVE_DAMAGED unless it is what the image says. */
export async function* readLayer(layer: Layer, name: string): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for await (const chunk of decompress(layer.read())) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest('hex') === layer.diffId) return;
  throw new MayflyError(
    'MAYFLY_IMAGE_ARCHIVE_DAMAGED',
    `${name} is damaged: the layer sha256:${layer.diffId} has other bytes`,
  );
}

/** Paths of an image's configuration and layers. */
interface Parts {
  config: string;
  layers: string[];
}

async function fromDocker(blobs: Blobs): Promise<Parts> {
  const list = await readJson(blobs, 'manifest.json');
  if (!Array.isArray(list)) throw damaged(blobs, 'its manifest.json is no list');
  if (list.length !== 1) {
    const names = list.flatMap((item) => strings(blobs, objectOf(blobs, item).RepoTags ?? []));
    throw ambiguous(blobs, list.length, names);
  }
  const { Config: config, Layers: layers } = objectOf(blobs, list[0]);
  if (typeof config !== 'string') throw damaged(blobs, 'its manifest.json names no configuration');
  return { config, layers: strings(blobs, layers) };
}

async function fromLayout(blobs: Blobs): Promise<Parts> {
  let json = objectOf(blobs, await readJson(blobs, 'index.json'));
  for (let depth = 0; Array.isArray(json.manifests); depth++) {
    if (depth >= INDEX_DEPTH_MAX) throw damaged(blobs, 'its indexes lead in circles');
    const path = pickManifest(blobs, json.manifests);
    json = objectOf(blobs, await readVerified(blobs, path));
  }
  const { layers } = json;
  if (!Array.isArray(layers)) throw damaged(blobs, 'its manifest names no layers');
  return {
    config: blobPath(blobs, objectOf(blobs, json.config)),
    layers: layers.map((layer) => blobPath(blobs, objectOf(blobs, layer))),
  };
}

/** Attestations, which builders put beside images, are for the platform unknown/unknown. */
function pickManifest(blobs: Blobs, list: unknown[]): string {
  const manifests = list.map((item) => objectOf(blobs, item));
  const fitting = manifests.filter(({ platform }) => {
    if (platform === undefined) return true;
    const { os, architecture } = objectOf(blobs, platform);
    return os === 'linux' && architecture === 'amd64';
  });
  if (fitting.length === 0) throw noPlatform(blobs, 'it has no image for linux/amd64');
  if (fitting.length > 1) {
    const names = fitting.map(({ annotations }) =>
      String(objectOf(blobs, annotations ?? {})['org.opencontainers.image.ref.name'] ?? 'no name'),
    );
    throw ambiguous(blobs, fitting.length, names);
  }
  return blobPath(blobs, fitting[0]!);
}

function checkPlatform(blobs: Blobs, { os, architecture }: Json): void {
  if ((os ?? 'linux') === 'linux' && (architecture ?? 'amd64') === 'amd64') return;
  throw noPlatform(blobs, `it is an image for ${String(os)}/${String(architecture)}`);
}

function configOf(blobs: Blobs, json: Json): ImageConfig {
  const env: Record<string, string> = {};
  for (const line of strings(blobs, json.Env ?? [])) {
    const equals = line.indexOf('=');
    if (equals > 0) env[line.slice(0, equals)] = line.slice(equals + 1);
  }
  return {
    entrypoint: strings(blobs, json.Entrypoint ?? []),
    cmd: strings(blobs, json.Cmd ?? []),
    env,
    cwd: typeof json.WorkingDir === 'string' ? json.WorkingDir : '',
    user: typeof json.User === 'string' ? json.User : '',
  };
}

function blobPath(blobs: Blobs, { digest }: Json): string {
  return `blobs/sha256/${hexOf(blobs, digest)}`;
}

function hexOf(blobs: Blobs, digest: unknown): string {
  const hex = typeof digest === 'string' ? DIGEST.exec(digest)?.[1] : undefined;
  if (hex === undefined) throw damaged(blobs, `${JSON.stringify(digest)} is no SHA-256 digest`);
  return hex;
}

async function readJson(blobs: Blobs, path: string): Promise<unknown> {
  return parseJson(blobs, path, await readAll(blobs, path));
}

/** A JSON blob whose name is its digest. */
async function readVerified(blobs: Blobs, path: string): Promise<unknown> {
  const bytes = await readAll(blobs, path);
  if (createHash('sha256').update(bytes).digest('hex') !== path.split('/').at(-1)) {
    throw damaged(blobs, `${path} has other bytes than its name says`);
  }
  return parseJson(blobs, path, bytes);
}

async function readAll(blobs: Blobs, path: string): Promise<Buffer> {
  const blob = blobs.get(path);
  if (blob === undefined) throw damaged(blobs, `${path} is missing`);
  if (blob.size > JSON_BYTES_MAX) throw damaged(blobs, `${path} is too large`);
  const parts: Uint8Array[] = [];
  for await (const chunk of blob.read()) parts.push(chunk);
  return Buffer.concat(parts);
}

function parseJson(blobs: Blobs, path: string, bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw damaged(blobs, `${path} is not JSON`);
  }
}

function objectOf(blobs: Blobs, value: unknown): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw damaged(blobs, 'a part of its JSON is no object');
}

function strings(blobs: Blobs, value: unknown): string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  throw damaged(blobs, 'a part of its JSON is no list of strings');
}

function damaged(blobs: Blobs, what: string): MayflyError {
  return new MayflyError('MAYFLY_IMAGE_ARCHIVE_DAMAGED', `${blobs.name} is damaged: ${what}`);
}

function noPlatform(blobs: Blobs, what: string): MayflyError {
  return new MayflyError('MAYFLY_IMAGE_NO_PLATFORM', `${blobs.name}: ${what}`);
}

function ambiguous(blobs: Blobs, count: number, names: string[]): MayflyError {
  const list = names.length === 0 ? '' : ` (${names.join(', ')})`;
  return new MayflyError(
    'MAYFLY_IMAGE_AMBIGUOUS',
    `${blobs.name} has ${count} images${list}; save one at a time`,
  );
}
