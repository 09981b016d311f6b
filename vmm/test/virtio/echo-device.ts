/** The smallest device, for tests: it writes what it reads, and its configuration can change. */
import type { GuestRam } from '../../src/memory/index.js';
import { VirtioDevice } from '../../src/virtio/index.js';

export class EchoDevice extends VirtioDevice<null> {
  constructor(ram: GuestRam, queueSize = 32) {
    super(ram, {
      name: 'echo',
      id: 42,
      queueSizes: [queueSize],
      config: new Uint8Array([1, 2, 3, 4, 5]),
    });
  }

  change(byte: number): void {
    this.changeConfig((config) => {
      config[0] = byte;
    });
  }

  protected processQueue(index: number): void {
    const queue = this.queues[index]!;
    for (let waiting = queue.take(); waiting > 0; waiting--) {
      const { head, readable, writable } = queue.pop()!;
      const bytes = new Uint8Array(Math.min(readable.bytes, writable.bytes, 65536));
      readable.read(0, bytes);
      writable.write(0, bytes);
      queue.addUsed(head, bytes.length);
    }
  }

  protected saveSpecific(): null {
    return null;
  }

  protected restoreSpecific(): void {}
}
