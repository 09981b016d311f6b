import { randomFillSync } from 'node:crypto';
import { GuestFault, type GuestRam } from '../memory/index.js';
import { type Chain, VirtioDevice } from '../virtio/index.js';

/** virtio-rng: device type 4, one queue (virtio 1.2, section 5.4). */
const DEVICE_ID = 4;
const QUEUE_SIZE = 64;
/** A guest may offer 4 GiB in one chain; this much is filled, so one chain costs microseconds. */
const BYTES_PER_CHAIN_MAX = 4096;

/** Random bytes of the host for the guest. Keeps nothing: each rewound clone draws fresh ones. */
export class EntropyDevice extends VirtioDevice<null> {
  constructor(ram: GuestRam) {
    super(ram, { name: 'entropy', id: DEVICE_ID, queueSizes: [QUEUE_SIZE] });
  }

  protected processQueue(index: number): void {
    const queue = this.queues[index]!;
    for (let waiting = queue.take(); waiting > 0; waiting--) {
      const chain = queue.pop()!;
      queue.addUsed(chain.head, fill(chain));
    }
  }

  protected saveSpecific(): null {
    return null;
  }

  protected restoreSpecific(): void {}
}

/** Fills the chain's buffers up to the limit and returns how many bytes that were. */
function fill(chain: Chain): number {
  const { readable, writable } = chain;
  if (readable.count > 0 || writable.count === 0) {
    throw new GuestFault(
      'MAYFLY_VIRTIO_BAD_REQUEST',
      'entropy: a request is writable buffers only',
    );
  }
  const length = Math.min(writable.bytes, BYTES_PER_CHAIN_MAX);
  for (let i = 0; i < writable.count; i++) {
    const piece = writable.slice(i, 0, length);
    if (piece === undefined) break;
    randomFillSync(piece);
  }
  return length;
}
