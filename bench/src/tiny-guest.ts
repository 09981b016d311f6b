/** The guest of floor/machine.c, driven by our own monitor: the same memory, code and registers. */
import { kvm } from '@mayfly/vmm';

const RAM_SIZE = 64 * 1024 * 1024;
const BLOCK = 2 * 1024 * 1024;
const PML4_GPA = 0x1000;
const PDPT_GPA = 0x2000;
const PD_GPA = 0x3000;
const TSS_GPA = 0x5000;
const CODE_GPA = 0x100000;
const DATA_GPA = 0x1000000;
/** mov %al,(%rdi); add $4096,%rdi; dec %ecx; jnz; out %al,$0xe9 */
const CODE = [
  0x88, 0x07, 0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, 0xff, 0xc9, 0x75, 0xf3, 0xe6, 0xe9,
];

/** A template in a memfd; every page of it is in the page cache, as it is for a real one. */
function writeTemplate(memory: kvm.GuestMemory): void {
  const bytes = new Uint8Array(memory.buffer).fill(0);
  const view = new DataView(memory.buffer);
  view.setBigUint64(PML4_GPA, BigInt(PDPT_GPA | 0x27), true);
  view.setBigUint64(PDPT_GPA, BigInt(PD_GPA | 0x27), true);
  for (let i = 0; i < RAM_SIZE / BLOCK; i++) {
    view.setBigUint64(PD_GPA + 8 * i, BigInt((i * BLOCK) | 0xe7), true);
  }
  bytes.set(CODE, CODE_GPA);
}

function initialSregs(vcpu: kvm.Vcpu): ArrayBuffer {
  const buffer = vcpu.getSregs();
  const sregs = kvm.sregsView(buffer);
  const flat = { base: 0n, limit: 0xffffffff, present: 1, dpl: 3, s: 1, g: 1, avl: 0, unusable: 0 };
  Object.assign(sregs.cs, { ...flat, selector: 0x33, type: 11, l: 1, db: 0 });
  for (const name of ['ds', 'es', 'fs', 'gs', 'ss'] as const) {
    Object.assign(sregs[name], { ...flat, selector: 0x2b, type: 3, l: 0, db: 1 });
  }
  Object.assign(sregs.tr, { base: BigInt(TSS_GPA), limit: 0x67, selector: 0x40, type: 11 });
  Object.assign(sregs.tr, { present: 1, dpl: 0, s: 0, unusable: 0 });
  sregs.cr0 = 0x80050033n; // PG AM WP NE ET MP PE
  sregs.cr3 = BigInt(PML4_GPA);
  sregs.cr4 = 0x620n; // OSXMMEXCPT OSFXSR PAE
  sregs.efer = 0xd01n; // NXE LMA LME SCE
  return buffer;
}

function initialRegs(pages: number): ArrayBuffer {
  const buffer = new ArrayBuffer(kvm.REGS_SIZE);
  const regs = kvm.regsView(buffer);
  regs.rip = BigInt(CODE_GPA);
  regs.rdi = BigInt(DATA_GPA);
  regs.rcx = BigInt(pages);
  regs.rax = 1n;
  regs.rflags = 0x3002n;
  return buffer;
}

/** A clone that writes to `pages` pages and leaves by an OUT, each time it is run. */
export class TinyGuest {
  readonly #memories: kvm.GuestMemory[];
  readonly #kvm: kvm.Kvm;
  readonly #vm: kvm.Vm;
  readonly #rewinder: kvm.Rewinder;

  constructor(pages: number) {
    const file = kvm.GuestMemory.memfd(RAM_SIZE);
    writeTemplate(file);
    const memory = kvm.GuestMemory.privateFile(file.fd, RAM_SIZE);
    const template = kvm.GuestMemory.readonlyFile(file.fd, RAM_SIZE);
    this.#memories = [template, memory, file];
    this.#kvm = kvm.Kvm.open();
    this.#vm = this.#kvm.createVm();
    this.#vm.setMemory(0, 0, memory);
    const vcpu = this.#vm.createVcpu(0);
    this.#rewinder = kvm.Rewinder.create({
      memory,
      template,
      vcpu,
      regs: initialRegs(pages),
      sregs: initialSregs(vcpu),
    });
  }

  /** Rewinds and runs the guest to its OUT. Returns how many pages were put back. */
  invoke(): number {
    const exit = this.#rewinder.rewindAndRun();
    if (exit !== kvm.exits.IO) throw new Error(`the guest left with exit reason ${exit}`);
    return this.#rewinder.pagesCopied;
  }

  close(): void {
    this.#rewinder.close();
    this.#vm.close();
    this.#kvm.close();
    for (const memory of this.#memories) memory.close();
  }
}
