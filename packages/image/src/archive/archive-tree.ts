import { createReadStream, statSync } from 'node:fs';
import { Tree } from '../tree/tree.js';
import { archiveBlobs, folderBlobs } from './blobs.js';
import {
  type Blobs,
  type ImageConfig,
  isContainer,
  readContainer,
  readLayer,
} from './container.js';
import { archiveError, type Chunks } from './decompress.js';
import { Spool } from './spool.js';
import { readTar } from './tar.js';
import { applyLayer } from './tar-tree.js';

/** How far reading an archive is. `layer` counts from 1; without layers, the archive itself is read. */
export interface ArchiveProgress {
  doneBytes: number;
  totalBytes: number;
  layer?: number;
  layers?: number;
}

export interface ArchiveTree {
  tree: Tree;
  /** Only container images have one. */
  config?: ImageConfig;
  /** What was left out. */
  notes: string[];
}

export { Spool };

type OnProgress = (progress: ArchiveProgress) => void;

/** The identity of the image in an OCI image layout: that of its configuration, which names all layers. */
export async function layoutId(dir: string): Promise<string> {
  return (await readContainer(folderBlobs(dir))).id;
}

/**
 * The tree of an OCI image layout (a folder), of a `docker save` archive, of an OCI layout in a tar file, or of a plain
 * root in a tar file; layers are merged. Contents lie in the spool, which must outlive the tree.
 * Throws MAYFLY_IMAGE_ARCHIVE_DAMAGED, MAYFLY_IMAGE_AMBIGUOUS, MAYFLY_IMAGE_NO_PLATFORM, MAYFLY_IMAGE_UNREADABLE,
 * MAYFLY_IMAGE_BAD_LINK, MAYFLY_IMAGE_BAD_PATH.
 */
export async function treeFromArchive(
  path: string,
  spool: Spool,
  onProgress: OnProgress = () => {},
): Promise<ArchiveTree> {
  try {
    if (statSync(path).isDirectory()) {
      return await containerTree(folderBlobs(path), spool, onProgress);
    }
    const counted = count(createReadStream(path), statSync(path).size, onProgress);
    const entries = await readTar(counted, spool, path);
    const blobs = archiveBlobs(path, entries);
    if (isContainer(blobs)) return await containerTree(blobs, spool, onProgress);
    const tree = new Tree();
    return { tree, notes: notesOf(applyLayer(tree, entries).devices) };
  } catch (error) {
    throw archiveError(path, error);
  }
}

async function containerTree(
  blobs: Blobs,
  spool: Spool,
  onProgress: OnProgress,
): Promise<ArchiveTree> {
  const { layers, config } = await readContainer(blobs);
  const tree = new Tree();
  let devices = 0;
  for (const [i, layer] of layers.entries()) {
    const at = { layer: i + 1, layers: layers.length };
    const counted = count(layer.read(), layer.size, (done) => onProgress({ ...done, ...at }));
    const entries = await readTar(
      readLayer({ ...layer, read: () => counted }, blobs.name),
      spool,
      blobs.name,
    );
    devices += applyLayer(tree, entries).devices;
  }
  return { tree, config, notes: notesOf(devices) };
}

function notesOf(devices: number): string[] {
  return devices === 0 ? [] : [`${devices} device files were left out: guests have their own /dev`];
}

async function* count(chunks: Chunks, totalBytes: number, onProgress: OnProgress) {
  let doneBytes = 0;
  for await (const chunk of chunks) {
    doneBytes += chunk.length;
    onProgress({ doneBytes, totalBytes });
    yield chunk;
  }
}
