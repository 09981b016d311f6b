/**
 * Long-mode page tables with 2 MiB leaves (Intel SDM vol. 3, 4.5), accessed and dirty preset so that the processor
 * never writes them. docs/guest-abi.md draws what is mapped where.
 */
import { abi } from '@mayfly/protocol';

const { layout } = abi;
const BLOCK = 0x200000;
const TABLE = 0x67n; // present, writable, user, accessed, dirty
const LEAF_READ_ONLY = 0xe5n;
const LEAF_WRITABLE = 0xe7n;

export class PageTables {
  readonly #view: DataView;
  #next: number = layout.PT_GPA + 0x1000;

  constructor(ram: ArrayBuffer) {
    this.#view = new DataView(ram);
  }

  /** GPA of the first page of the pool that is still free: the guest kernel goes on from here. */
  get next(): number {
    return this.#next;
  }

  /** Maps [va, va + size) to [gpa, gpa + size); all multiples of 2 MiB. */
  map(va: number, gpa: number, size: number, writable: boolean): void {
    const leaf = writable ? LEAF_WRITABLE : LEAF_READ_ONLY;
    for (let at = 0; at < size; at += BLOCK) {
      const level3 = this.#below(layout.PT_GPA, va + at, 39);
      const level2 = this.#below(level3, va + at, 30);
      this.#view.setBigUint64(this.#slot(level2, va + at, 21), BigInt(gpa + at) | leaf, true);
    }
  }

  #slot(table: number, va: number, shift: number): number {
    return table + 8 * (Math.floor(va / 2 ** shift) % 512);
  }

  #below(table: number, va: number, shift: number): number {
    const slot = this.#slot(table, va, shift);
    const entry = this.#view.getBigUint64(slot, true);
    if (entry !== 0n) return Number(entry & ~0xfffn);
    const page = this.#next;
    if (page >= layout.PT_END_GPA) throw new RangeError('out of page-table pages');
    this.#next += 0x1000;
    this.#view.setBigUint64(slot, BigInt(page) | TABLE, true);
    return page;
  }
}
