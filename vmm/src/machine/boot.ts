/**
 * Everything that lies in guest memory before the first instruction: descriptor tables, page tables, the boot page and
 * the program's arguments. There is no firmware and no real mode; the vCPU starts in the guest kernel at CPL 3.
 */
import { abi, MayflyError } from '@mayfly/protocol';
import type { KernelImage } from './kernel-image.js';
import { PageTables } from './page-tables.js';
import { TSS_LIMIT } from './vcpu-state.js';

const { layout, selectors, boot } = abi;

/** Who the program is in its guest. */
export interface BootUser {
  uid: number;
  gid: number;
  /** Supplementary groups, at most 256. */
  groups: readonly number[];
}

export interface BootOptions {
  /** Absolute path of the program in the guest. */
  program: string;
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
  hostname: string;
  /** Absent: root. */
  user?: BootUser | undefined;
  /** Bytes of each EROFS image, bottom first; all multiples of 2 MiB. */
  imageSizes: readonly number[];
  deviceCount: number;
  strace: boolean;
  verbose: boolean;
  debug: boolean;
}

const MAX_IMAGES = 16;
const GROUPS_MAX = 256;
const BLOCK = 0x200000;

/** Guest-physical address of each image: one after the other from IMAGE_GPA on. */
export function imageAddresses(sizes: readonly number[]): number[] {
  let at: number = layout.IMAGE_GPA;
  return sizes.map((size) => {
    const here = at;
    at += Math.ceil(size / BLOCK) * BLOCK;
    return here;
  });
}

/** Writes the initial memory of a machine. `ram` must be all zeros. */
export function writeBootMemory(ram: ArrayBuffer, kernel: KernelImage, options: BootOptions): void {
  if (options.imageSizes.length > MAX_IMAGES) {
    throw new MayflyError('MAYFLY_TOO_MANY_IMAGES', `a machine has at most ${MAX_IMAGES} images`);
  }
  const bytes = new Uint8Array(ram);
  const view = new DataView(ram);
  kernel.load(bytes);
  writeDescriptors(view);
  const tables = writePageTables(ram, options);
  writeBootPage(bytes, view, options, tables.next);
}

/** GDT, TSS and IDT at their places; `view` is of RAM. */
export function writeDescriptors(view: DataView): void {
  const gdt = [0n, 0n, 0x00af9b000000ffffn, 0x00cf93000000ffffn, 0x00cffb000000ffffn];
  gdt.push(0x00cff3000000ffffn, 0x00affb000000ffffn, 0n);
  const tss = BigInt(layout.WINDOW_VA + layout.TSS_GPA);
  gdt.push(
    0x0000890000000000n | BigInt(TSS_LIMIT) | ((tss & 0xffffffn) << 16n) | ((tss >> 24n) << 56n),
    tss >> 32n,
  );
  for (const [i, entry] of gdt.entries()) view.setBigUint64(layout.GDT_GPA + 8 * i, entry, true);
  const istTop = BigInt(layout.WINDOW_VA + layout.IST_TOP_GPA);
  view.setBigUint64(layout.TSS_GPA + 0x04, istTop, true); // RSP0
  view.setBigUint64(layout.TSS_GPA + 0x24, istTop, true); // IST1
  view.setUint16(layout.TSS_GPA + 0x66, 0x68, true); // I/O bitmap: all zeros, every port allowed
  for (let vector = 0; vector < 32; vector++) writeGate(view, vector);
}

/** A trap gate with IST1. All lead to CPL 3, but the page fault's, whose first steps need CR2. */
function writeGate(view: DataView, vector: number): void {
  const pageFault = vector === 14;
  const target = BigInt(
    pageFault ? layout.PAGE_FAULT_STUB_VA : layout.EXCEPTION_STUBS_VA + 16 * vector,
  );
  const selector = BigInt(pageFault ? selectors.KERNEL_CS : selectors.USER_CS);
  const low =
    (target & 0xffffn) |
    (selector << 16n) |
    (0xef01n << 32n) |
    (((target >> 16n) & 0xffffn) << 48n);
  view.setBigUint64(layout.IDT_GPA + 16 * vector, low, true);
  view.setBigUint64(layout.IDT_GPA + 16 * vector + 8, target >> 32n, true);
}

function writePageTables(ram: ArrayBuffer, options: BootOptions): PageTables {
  const tables = new PageTables(ram);
  tables.map(layout.WINDOW_VA, 0, Math.min(layout.WINDOW_SIZE, ram.byteLength), true);
  tables.map(layout.RAM_VA, 0, ram.byteLength, true);
  tables.map(layout.MMIO_VA, layout.MMIO_GPA, BLOCK, true);
  for (const [i, gpa] of imageAddresses(options.imageSizes).entries()) {
    const size = Math.ceil((options.imageSizes[i] ?? 0) / BLOCK) * BLOCK;
    tables.map(layout.IMAGE_VA + (gpa - layout.IMAGE_GPA), gpa, size, false);
  }
  return tables;
}

class Strings {
  readonly #parts: Buffer[] = [];
  size = 0;

  add(text: string): number {
    if (text.includes('\0')) {
      throw new MayflyError('MAYFLY_BAD_ARGUMENT', 'an argument or variable has a NUL byte');
    }
    const offset = this.size;
    const bytes = Buffer.from(`${text}\0`);
    this.#parts.push(bytes);
    this.size += bytes.length;
    return offset;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

function writeBootPage(
  bytes: Uint8Array,
  view: DataView,
  options: BootOptions,
  tablesNext: number,
): void {
  const strings = new Strings();
  const env = Object.entries(options.env);
  for (const argument of options.argv) strings.add(argument);
  for (const [name, value] of env) strings.add(`${name}=${value}`);
  const cwd = strings.add(options.cwd);
  const execfn = strings.add(options.program);
  if (strings.size > layout.STRINGS_SIZE) {
    throw new MayflyError(
      'MAYFLY_ARGUMENTS_TOO_LARGE',
      `arguments and environment take ${strings.size} bytes, at most ${layout.STRINGS_SIZE} fit`,
    );
  }
  bytes.set(strings.bytes(), layout.STRINGS_GPA);
  const put = (offset: number, value: number) =>
    view.setBigUint64(layout.BOOT_GPA + offset, BigInt(value), true);
  put(boot.abi_version, abi.ABI_VERSION);
  put(boot.ram_size, bytes.byteLength);
  put(boot.pt_next, tablesNext);
  put(
    boot.flags,
    (options.strace ? abi.flags.BOOT_STRACE : 0) |
      (options.verbose ? abi.flags.BOOT_VERBOSE : 0) |
      (options.debug ? abi.flags.BOOT_DEBUG : 0),
  );
  put(boot.device_count, options.deviceCount);
  put(boot.argc, options.argv.length);
  put(boot.envc, env.length);
  put(boot.strings_size, strings.size);
  put(boot.cwd, cwd);
  put(boot.execfn, execfn);
  put(boot.image_count, options.imageSizes.length);
  for (const [i, gpa] of imageAddresses(options.imageSizes).entries()) {
    put(boot.image_gpa + 8 * i, gpa);
    put(boot.image_size + 8 * i, options.imageSizes[i] ?? 0);
  }
  const { uid, gid, groups } = options.user ?? { uid: 0, gid: 0, groups: [] };
  const kept = Uint32Array.from(groups.slice(0, GROUPS_MAX));
  view.setUint32(layout.BOOT_GPA + boot.uid, uid, true);
  view.setUint32(layout.BOOT_GPA + boot.gid, gid, true);
  put(boot.group_count, kept.length);
  bytes.set(new Uint8Array(kept.buffer), layout.BOOT_GPA + boot.groups);
  bytes.set(Buffer.from(options.hostname).subarray(0, 63), layout.BOOT_GPA + boot.hostname);
}
