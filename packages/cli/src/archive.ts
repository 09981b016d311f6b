/** A deployment of files as the archive that a server takes: smaller than their JSON, in which bytes would be base64. */
import { pipeline } from 'node:stream/promises';
import { constants, createGzip } from 'node:zlib';
import type { FunctionFiles, FunctionSource } from '@mayfly/protocol/api';
import { pack } from 'tar-stream';

/** A tar archive behind gzip, with the settings as its mayfly.json. */
export async function archiveOf({ files = {}, ...settings }: FunctionSource): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name: 'mayfly.json' }, JSON.stringify(settings));
  for (const [name, content] of Object.entries(files)) {
    const { bytes, executable } = fileOf(content);
    archive.entry({ name, mode: executable ? 0o755 : 0o644 }, bytes);
  }
  archive.finalize();
  const parts: Buffer[] = [];
  await pipeline(archive, createGzip({ level: constants.Z_BEST_SPEED }), async (bytes) => {
    for await (const part of bytes) parts.push(part as Buffer);
  });
  return Buffer.concat(parts);
}

function fileOf(content: FunctionFiles[string]): { bytes: Buffer; executable: boolean } {
  if (typeof content === 'string') return { bytes: Buffer.from(content), executable: false };
  return { bytes: Buffer.from(content.base64, 'base64'), executable: content.executable === true };
}
