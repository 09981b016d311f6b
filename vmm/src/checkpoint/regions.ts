/** What lies where in a guest's memory: at fixed places by the ABI, elsewhere by the program's page tables. */
import { abi } from '@mayfly/protocol';
import type { ChainMemory } from './chain-memory.js';
import { PAGE } from './manifest.js';

const { layout, arenas } = abi;

/** Named ranges, rising; what lies between them has no name. */
type Ranges = readonly (readonly [name: string, start: number, end: number])[];

/** Guest-physical. */
const FIXED: Ranges = [
  ['descriptor tables', layout.GDT_GPA, layout.SHARED_GPA],
  ['shared page', layout.SHARED_GPA, layout.BOOT_GPA],
  ['boot page', layout.BOOT_GPA, layout.BOOT_GPA + PAGE],
  ['exception stack', layout.IST_TOP_GPA - 0x4000, layout.IST_TOP_GPA],
  ['page tables', layout.PT_GPA, layout.PT_END_GPA],
  ['guest kernel', layout.KERNEL_GPA, layout.STRINGS_GPA],
  ['arguments and environment', layout.STRINGS_GPA, layout.STRINGS_GPA + layout.STRINGS_SIZE],
];

/** Guest-virtual: where programs have what. */
const ARENAS: Ranges = [
  ['program and its heap', arenas.USER_MIN, arenas.PROGRAM_END],
  ['mappings below 4 GiB', arenas.LOW_ARENA, arenas.LOW_ARENA_END],
  ['mappings', arenas.HIGH_ARENA, arenas.HIGH_ARENA_END],
  ['large reservations', arenas.RESERVE_ARENA, arenas.SHARED_ARENA],
  ['shared mappings', arenas.SHARED_ARENA, arenas.RESERVE_ARENA_END],
];

const OTHER = 'kernel data, files and free memory';

const PRESENT = 1n;
const LARGE = 0x80n;
const ADDRESS = 0x000f_ffff_ffff_f000n;

const nameIn = (ranges: Ranges, address: number) =>
  ranges.find(([, start, end]) => address >= start && address < end)?.[0];

export class Regions {
  readonly #memory: ChainMemory;
  /** Of each page: 0, or 1 + the index of the arena in which the program has it. */
  readonly #arenas: Uint8Array;
  readonly #seen = new Set<number>();

  constructor(memory: ChainMemory) {
    this.#memory = memory;
    this.#arenas = new Uint8Array(memory.size / PAGE);
    this.#walk(layout.PT_GPA, 39, 0);
  }

  nameOf(page: number): string {
    const arena = this.#arenas[page] ?? 0;
    return nameIn(FIXED, page * PAGE) ?? ARENAS[arena - 1]?.[0] ?? OTHER;
  }

  /** The guest wrote the tables: each is looked at once per level, wherever they lead. */
  #walk(table: number, shift: number, base: number): void {
    const key = table * 64 + shift;
    if (table + PAGE > this.#memory.size || this.#seen.has(key)) return;
    this.#seen.add(key);
    const entries = new BigUint64Array(PAGE / 8);
    this.#memory.read(new Uint8Array(entries.buffer), table);
    const slots = shift === 39 ? 256 : 512; // the lower half is the program's
    for (let slot = 0; slot < slots; slot++) {
      const entry = entries[slot]!;
      if ((entry & PRESENT) === 0n) continue;
      const address = base + slot * 2 ** shift;
      const isLeaf = shift === 12 || (shift === 21 && (entry & LARGE) !== 0n);
      if (isLeaf) this.#mark(Number(entry & ADDRESS), address, 2 ** shift);
      else if ((entry & LARGE) === 0n) this.#walk(Number(entry & ADDRESS), shift - 9, address);
    }
  }

  #mark(gpa: number, address: number, size: number): void {
    const arena = ARENAS.findIndex(([, start, end]) => address >= start && address < end);
    if (arena >= 0) this.#arenas.fill(arena + 1, gpa / PAGE, (gpa + size) / PAGE);
  }
}
