import type { SegmentList } from '../virtio/index.js';

/** Bytes of struct virtio_vsock_hdr (virtio 1.2, section 5.10.6). */
export const HEADER_SIZE = 44;
export const TYPE_STREAM = 1;
/** The context id of the host. */
export const HOST_CID = 2;

export const op = {
  REQUEST: 1,
  RESPONSE: 2,
  RST: 3,
  SHUTDOWN: 4,
  RW: 5,
  CREDIT_UPDATE: 6,
  CREDIT_REQUEST: 7,
} as const;

/** Flags of SHUTDOWN: what the sender will not do any more. */
export const shutdown = { RECEIVE: 1, SEND: 2, BOTH: 3 } as const;

/**
 * A packet header, decoded and encoded in one place; each device keeps one for reading and one for writing.
 *
 * ```
 *   0 src_cid u64   8 dst_cid u64   16 src_port u32   20 dst_port u32   24 len u32
 *  28 type u16     30 op u16        32 flags u32      36 buf_alloc u32  40 fwd_cnt u32
 * ```
 * Context ids are kept as two halves, since a guest may write any 64 bits.
 */
export class PacketHeader {
  readonly #bytes = new Uint8Array(HEADER_SIZE);
  readonly #data = new DataView(this.#bytes.buffer);

  sourceCidLow = 0;
  sourceCidHigh = 0;
  targetCidLow = 0;
  targetCidHigh = 0;
  sourcePort = 0;
  targetPort = 0;
  length = 0;
  type = TYPE_STREAM;
  op = 0;
  flags = 0;
  bufAlloc = 0;
  fwdCnt = 0;

  /** GuestFault MAYFLY_VIRTIO_SHORT_BUFFER when there are fewer than HEADER_SIZE bytes. */
  read(from: SegmentList): void {
    from.read(0, this.#bytes);
    const data = this.#data;
    this.sourceCidLow = data.getUint32(0, true);
    this.sourceCidHigh = data.getUint32(4, true);
    this.targetCidLow = data.getUint32(8, true);
    this.targetCidHigh = data.getUint32(12, true);
    this.sourcePort = data.getUint32(16, true);
    this.targetPort = data.getUint32(20, true);
    this.length = data.getUint32(24, true);
    this.type = data.getUint16(28, true);
    this.op = data.getUint16(30, true);
    this.flags = data.getUint32(32, true);
    this.bufAlloc = data.getUint32(36, true);
    this.fwdCnt = data.getUint32(40, true);
  }

  write(to: SegmentList): void {
    const data = this.#data;
    data.setUint32(0, this.sourceCidLow, true);
    data.setUint32(4, this.sourceCidHigh, true);
    data.setUint32(8, this.targetCidLow, true);
    data.setUint32(12, this.targetCidHigh, true);
    data.setUint32(16, this.sourcePort, true);
    data.setUint32(20, this.targetPort, true);
    data.setUint32(24, this.length, true);
    data.setUint16(28, this.type, true);
    data.setUint16(30, this.op, true);
    data.setUint32(32, this.flags, true);
    data.setUint32(36, this.bufAlloc, true);
    data.setUint32(40, this.fwdCnt, true);
    to.write(0, this.#bytes);
  }
}
