/**
 * A checkpoint as one file: a tar archive whose entries come in this order. See docs/checkpoint-format.md.
 *
 *   mayfly-checkpoint.json     what follows: checkpoints, oldest first, and layers; digests of the manifests
 *   <id>/manifest.json         of each checkpoint; digests of state and memory
 *   <id>/state
 *   <id>/memory                stored pages only, in rising order
 *   layers/<digest>.erofs      images
 *   end                        the SHA-256 of the first entry
 */
import { damaged, isHex64, isId, type Layer } from './manifest.js';

export const INDEX = 'mayfly-checkpoint.json';
export const END = 'end';
const FORMAT = 'mayfly-checkpoint-export';
export const EXPORT_VERSION = 1;
const CHECKPOINTS_MAX = 1000;
const LAYERS_MAX = 1000;

export interface ExportIndex {
  format: typeof FORMAT;
  version: number;
  /** Oldest first; `sha256` of the manifest. */
  checkpoints: { id: string; sha256: string }[];
  layers: Layer[];
}

export function encodeIndex(index: Pick<ExportIndex, 'checkpoints' | 'layers'>): Buffer {
  return Buffer.from(
    `${JSON.stringify({ format: FORMAT, version: EXPORT_VERSION, ...index }, null, 2)}\n`,
  );
}

/** Throws MAYFLY_CHECKPOINT_DAMAGED. */
export function decodeIndex(bytes: Uint8Array): ExportIndex {
  let index: ExportIndex;
  try {
    index = JSON.parse(Buffer.from(bytes).toString());
  } catch (cause) {
    throw damaged(`${INDEX} is not JSON`, cause);
  }
  if (index?.format !== FORMAT) throw damaged('this is not an exported checkpoint');
  if (index.version !== EXPORT_VERSION) {
    throw damaged(`export version ${index.version}; this Mayfly reads ${EXPORT_VERSION}`);
  }
  const { checkpoints, layers } = index;
  const isList = (list: unknown, max: number) => Array.isArray(list) && list.length <= max;
  const whole =
    isList(checkpoints, CHECKPOINTS_MAX) &&
    checkpoints.length > 0 &&
    checkpoints.every((c) => isId(c?.id) && isHex64(c.sha256)) &&
    new Set(checkpoints.map(({ id }) => id)).size === checkpoints.length &&
    isList(layers, LAYERS_MAX) &&
    layers.every((l) => isHex64(l?.digest) && Number.isSafeInteger(l.size) && l.size >= 0);
  if (!whole) throw damaged(`${INDEX}: checkpoints or layers are missing or wrong`);
  return index;
}
