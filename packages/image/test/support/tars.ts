/** Archives made by hand, as there is no container engine here. */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pack } from 'tar-stream';

export interface Member {
  name: string;
  type?: 'file' | 'directory' | 'symlink' | 'link' | 'fifo' | 'character-device';
  content?: string | Buffer;
  linkname?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  devmajor?: number;
  devminor?: number;
}

export async function tarOf(members: Member[]): Promise<Buffer> {
  const archive = pack();
  for (const { content, ...member } of members) {
    const header = { mtime: new Date(1_000_000_000_000), mode: 0o644, ...member };
    archive.entry(header, (content ?? '') as string);
  }
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

export const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');

const ZSTD_BLOCK_MAX = 128 * 1024;

/** A zstd frame (RFC 8878) of raw blocks: what a compressor makes of noise. */
export function zstd(bytes: Buffer): Buffer {
  const parts: Uint8Array[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3])]; // a window of 2^(10 + 7) bytes
  for (let at = 0; at < bytes.length; at += ZSTD_BLOCK_MAX) {
    const block = bytes.subarray(at, at + ZSTD_BLOCK_MAX);
    const last = at + ZSTD_BLOCK_MAX >= bytes.length ? 1 : 0;
    const header = Buffer.alloc(3);
    header.writeUIntLE(last | (block.length << 3), 0, 3);
    parts.push(header, block);
  }
  return Buffer.concat(parts);
}

export interface TestImage {
  /** As tar files. */
  layers: Buffer[];
  config?: Record<string, unknown>;
  architecture?: string;
}

const configOf = ({ layers, config = {}, architecture = 'amd64' }: TestImage) =>
  JSON.stringify({
    os: 'linux',
    architecture,
    config,
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => `sha256:${sha256(layer)}`) },
  });

/** What `docker save` wrote before version 25: layers in folders of their own. */
export function dockerMembers(image: TestImage, squeeze = (layer: Buffer) => layer): Member[] {
  const config = configOf(image);
  const manifest = [
    {
      Config: `${sha256(config)}.json`,
      RepoTags: ['test:latest'],
      Layers: image.layers.map((_, i) => `${i}/layer.tar`),
    },
  ];
  return [
    ...image.layers.map((layer, i) => ({ name: `${i}/layer.tar`, content: squeeze(layer) })),
    { name: `${sha256(config)}.json`, content: config },
    { name: 'manifest.json', content: JSON.stringify(manifest) },
  ];
}

/** The files of an OCI image layout, by path; with several images, one a platform. */
export function ociFiles(
  images: TestImage[],
  squeeze = (layer: Buffer) => layer,
): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  const blob = (content: Buffer | string) => {
    files.set(`blobs/sha256/${sha256(content)}`, Buffer.from(content));
    return { digest: `sha256:${sha256(content)}`, size: content.length };
  };
  const manifests = images.map((image) => {
    const layers = image.layers.map((layer) => blob(squeeze(layer)));
    const manifest = blob(JSON.stringify({ config: blob(configOf(image)), layers }));
    return { ...manifest, platform: { os: 'linux', architecture: image.architecture ?? 'amd64' } };
  });
  const attestation = { ...blob('{}'), platform: { os: 'unknown', architecture: 'unknown' } };
  files.set('index.json', Buffer.from(JSON.stringify({ manifests: [...manifests, attestation] })));
  files.set('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  return files;
}

export function writeFolder(dir: string, files: Map<string, Buffer>): string {
  for (const [name, content] of files) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), content);
  }
  return dir;
}
