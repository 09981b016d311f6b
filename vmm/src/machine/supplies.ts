/**
 * What a thread keeps ready for its next machines. Making a VM with its vCPU takes a good part of the time of a clone,
 * and each ArrayBuffer of guest memory that appears makes V8 collect garbage: both are done ahead, or kept from
 * machines that are gone. docs/decisions/0012-how-clones-are-made.md
 */
import { GuestMemory } from '../kvm/index.js';
import { createShell, type Shell } from './factory.js';

/** Address ranges kept, of all sizes together. They hold no pages. */
const MEMORIES_MAX = 8;

export class Supplies {
  readonly #shellsMax: number;
  readonly #shells: Shell[] = [];
  readonly #memories: GuestMemory[] = [];
  #closed = false;

  /** `shells`: how many VMs to keep ready; each costs two file descriptors and about 0.2 MB of kernel memory. */
  constructor({ shells }: { shells: number }) {
    this.#shellsMax = shells;
  }

  /** VMs that are ready. */
  get shells(): number {
    return this.#shells.length;
  }

  takeShell(): Shell {
    return this.#shells.pop() ?? createShell();
  }

  /** Makes one more VM; false when there are enough. */
  addShell(): boolean {
    if (this.#closed || this.#shells.length >= this.#shellsMax) return false;
    this.#shells.push(createShell());
    return true;
  }

  /** GuestMemory.privateFile(), with the address range and the ArrayBuffer of a machine that is gone if there is one. */
  takeMemory(fd: number, size: number): GuestMemory {
    const at = this.#memories.findIndex((memory) => memory.size === size);
    if (at < 0) return GuestMemory.privateFile(fd, size);
    const [memory] = this.#memories.splice(at, 1) as [GuestMemory];
    try {
      memory.replaceFile(fd);
      return memory;
    } catch (error) {
      memory.close();
      throw error;
    }
  }

  /** The memory of a machine that is closed: nothing may write to it any more. */
  keepMemory(memory: GuestMemory): void {
    if (this.#closed || this.#memories.length >= MEMORIES_MAX) {
      memory.close();
      return;
    }
    try {
      memory.empty();
      this.#memories.push(memory);
    } catch {
      memory.close(); // somebody still uses it, or it cannot be mapped: it goes when it can
    }
  }

  close(): void {
    this.#closed = true;
    for (const { vm } of this.#shells.splice(0)) vm.close();
    for (const memory of this.#memories.splice(0)) memory.close();
  }
}
