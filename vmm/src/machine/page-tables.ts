/**
 * Long-mode page tables with 2 MiB leaves (Intel SDM vol. 3, 4.5), accessed and dirty preset so that the processor
 * never writes them. docs/guest-abi.md draws what is mapped where.
 */
import { abi } from '@mayfly/protocol';

const { layout } = abi;
const BLOCK = 0x200000;
const GIB = 0x40000000;
const TABLE = 0x67; // present, writable, user, accessed, dirty
const LEAF_READ_ONLY = 0xe5;
const LEAF_WRITABLE = 0xe7;

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
    for (let at = 0; at < size; ) {
      const level3 = this.#below(layout.PT_GPA, va + at, 39);
      const level2 = this.#below(level3, va + at, 30);
      const end = Math.min(size, at + GIB - ((va + at) % GIB));
      for (; at < end; at += BLOCK) this.#write(this.#slot(level2, va + at, 21), gpa + at + leaf);
    }
  }

  #slot(table: number, va: number, shift: number): number {
    return table + 8 * (Math.floor(va / 2 ** shift) % 512);
  }

  #below(table: number, va: number, shift: number): number {
    const slot = this.#slot(table, va, shift);
    const entry = this.#view.getUint32(slot, true); // tables lie below 4 GiB
    if (entry !== 0) return entry & ~0xfff;
    const page = this.#next;
    if (page >= layout.PT_END_GPA) throw new RangeError('out of page-table pages');
    this.#next += 0x1000;
    this.#write(slot, page + TABLE);
    return page;
  }

  /** Two halves, since a BigInt for each entry would be what a boot is busy with. */
  #write(slot: number, entry: number): void {
    this.#view.setUint32(slot, entry % 2 ** 32, true);
    this.#view.setUint32(slot + 4, Math.floor(entry / 2 ** 32), true);
  }
}
