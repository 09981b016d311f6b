/** manifest.json of a checkpoint: what there is, in which version, with which checksums. See docs/checkpoint-format.md. */
import { createHash } from 'node:crypto';
import { MayflyError } from '@mayfly/protocol';
import type { CpuDescription } from './cpu.js';

export const FORMAT = 'mayfly-checkpoint';
/** Raised when an older build could not make sense of a checkpoint any more. */
export const FORMAT_VERSION = 1;
/** Raised when vCPU or devices are saved in another way; such a checkpoint can be listed and removed, and no more. */
export const STATE_VERSION = 2;
const BYTES_MAX = 1 << 20;
export const PAGE = 4096;
/** Guest memory is one ArrayBuffer. */
const MEMORY_BYTES_MAX = 4 * 1024 ** 3;

export interface Part {
  /** Name in the checkpoint's folder. */
  file: string;
  /** SHA-256 of its content, hex; for memory of the stored pages in rising order. */
  sha256: string;
}

export interface MemoryPart extends Part {
  /** Bytes of guest memory. */
  size: number;
  /** Pages of 4096 bytes that are stored; the others are zeros, or the parent's. */
  pages: number;
}

export interface StatePart extends Part {
  version: number;
}

export interface Layer {
  /** SHA-256 of the EROFS image, hex. */
  digest: string;
  size: number;
}

export interface Manifest {
  format: typeof FORMAT;
  version: number;
  /** 16 hex digits; what children refer to. */
  id: string;
  name: string;
  /** Id of the checkpoint that this one is a difference to. */
  parent?: string;
  /** ISO 8601. */
  createdAt: string;
  /** Version of Mayfly that took it, for people: what it needs is in the other fields. Older ones do not say. */
  mayfly?: string;
  /** What ran: the program and its arguments. */
  command: string[];
  /** What it might connect to (docs/networking.md), and its clones may. Absent: nobody said. */
  network?: string[];
  /** Of whoever took it, and of no meaning here. */
  labels?: Record<string, string>;
  /** Version of the contract between VMM and guest kernel, which decides whether it can run. */
  abi: number;
  /** SHA-256 of the guest kernel that is in its memory. If it is this build's, what it runs at CPL 0 is checked. */
  kernel: string;
  cpu: CpuDescription;
  memory: MemoryPart;
  state: StatePart;
  /** Bottom first. */
  layers: Layer[];
}

const HEX64 = /^[0-9a-f]{64}$/;
const ID = /^[0-9a-f]{16}$/;
const FILE = /^[a-z]+-[0-9a-f]{16}$/;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

export const digestOf = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex');

/** With a checksum of all the rest as the last field. */
export function textOf(manifest: Manifest): string {
  const sha256 = digestOf(JSON.stringify(manifest));
  return `${JSON.stringify({ ...manifest, sha256 }, null, 2)}\n`;
}

/** Throws MAYFLY_CHECKPOINT_BAD_NAME. */
export function checkName(name: string): void {
  if (NAME.test(name)) return;
  throw new MayflyError(
    'MAYFLY_CHECKPOINT_BAD_NAME',
    `${JSON.stringify(name)} cannot name a checkpoint: letters, digits, ".", "_" and "-", at most 63, beginning with a letter or digit`,
  );
}

export function damaged(what: string, cause?: unknown): MayflyError {
  return new MayflyError('MAYFLY_CHECKPOINT_DAMAGED', what, { cause });
}

const isObject = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null;
const isText = (x: unknown): x is string => typeof x === 'string';
const isSize = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;
const isMemorySize = (x: unknown): x is number =>
  isSize(x) && x > 0 && x <= MEMORY_BYTES_MAX && x % PAGE === 0;
const isTexts = (x: unknown): x is string[] => Array.isArray(x) && x.every(isText);
const matches = (x: unknown, pattern: RegExp): boolean => isText(x) && pattern.test(x);
export const isHex64 = (x: unknown): x is string => matches(x, HEX64);
export const isId = (x: unknown): x is string => matches(x, ID);
const isPart = (x: unknown): boolean =>
  isObject(x) && matches(x.file, FILE) && matches(x.sha256, HEX64);
const isLayer = (x: unknown): boolean => isObject(x) && matches(x.digest, HEX64) && isSize(x.size);

/** What must hold of each field, by its name. */
const FIELDS: Readonly<Record<string, (x: unknown) => boolean>> = {
  id: (x) => matches(x, ID),
  name: (x) => matches(x, NAME),
  parent: (x) => x === undefined || matches(x, ID),
  createdAt: (x) => isText(x) && !Number.isNaN(Date.parse(x)),
  mayfly: (x) => x === undefined || isText(x),
  command: isTexts,
  network: (x) => x === undefined || isTexts(x),
  labels: (x) => x === undefined || (isObject(x) && Object.values(x).every(isText)),
  abi: isSize,
  kernel: (x) => matches(x, HEX64),
  cpu: (x) => isObject(x) && isText(x.vendor) && isText(x.model) && isTexts(x.features),
  memory: (x) =>
    isPart(x) && isObject(x) && isMemorySize(x.size) && isSize(x.pages) && x.pages * PAGE <= x.size,
  state: (x) => isPart(x) && isObject(x) && isSize(x.version),
  layers: (x) => Array.isArray(x) && x.every(isLayer),
};

/**
 * Reads a manifest's text. Throws MAYFLY_CHECKPOINT_DAMAGED, or MAYFLY_CHECKPOINT_VERSION for one that another version
 * of Mayfly wrote.
 */
export function parseManifest(text: string, where: string): Manifest {
  if (text.length > BYTES_MAX) throw damaged(`${where} is too large`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged(`${where} is not JSON`, cause);
  }
  if (!isObject(value) || value.format !== FORMAT) throw damaged(`${where} is not a checkpoint’s`);
  if (value.version !== FORMAT_VERSION) {
    throw new MayflyError(
      'MAYFLY_CHECKPOINT_VERSION',
      `${where} has format version ${value.version}; this Mayfly reads ${FORMAT_VERSION}`,
    );
  }
  const { sha256, ...manifest } = value; // older ones have no checksum
  for (const [name, holds] of Object.entries(FIELDS)) {
    if (!holds(manifest[name])) throw damaged(`${where}: ${name} is missing or wrong`);
  }
  if (sha256 !== undefined && sha256 !== digestOf(JSON.stringify(manifest))) {
    throw damaged(`${where} has other content`);
  }
  return manifest as unknown as Manifest;
}
