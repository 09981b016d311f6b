/** Bodies for tests of pools: read whole, and large ones that tell how much of them was asked for. */
import type { Body } from '../../src/pool/types.js';

export async function read(body: Body): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body instanceof Uint8Array ? [body] : body) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** 4 MiB, no part like another, in 84 pieces; `pulled` counts those that a reader asked for. */
export class Upload {
  readonly bytes = Buffer.alloc(4 << 20);
  pulled = 0;

  constructor() {
    for (let i = 0; i < this.bytes.length; i += 1024) this.bytes.writeUInt32LE(i, i);
  }

  async *pieces(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < this.bytes.length; at += 50_000) {
      this.pulled++;
      yield this.bytes.subarray(at, at + 50_000);
    }
  }
}
