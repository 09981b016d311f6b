/** Each thing that would let a guest run code of its own at CPL 0 unseen. */
import { abi } from '@mayfly/protocol';
import t from 'tap';
import { DEBUG_REGS_SIZE, SREGS_SIZE, type SregsView, sregsView } from '../../src/kvm/index.js';
import { writeBootMemory } from '../../src/machine/boot.js';
import { checkCpl0, guardedRanges } from '../../src/machine/cpl0.js';
import { KernelImage } from '../../src/machine/kernel-image.js';
import {
  SYSTEM_CALL_MSRS,
  togglePge,
  type VcpuState,
  writeInitialSregs,
} from '../../src/machine/vcpu-state.js';

const { layout } = abi;
const kernel = KernelImage.default();

interface Guest {
  ram: DataView;
  sregs: SregsView;
  vcpu: VcpuState;
}

function freshGuest(): Guest {
  const ram = new ArrayBuffer(32 << 20);
  writeBootMemory(ram, kernel, {
    program: '/bin/true',
    argv: ['true'],
    env: {},
    cwd: '/',
    hostname: 'mayfly',
    imageSizes: [2 << 20],
    deviceCount: 3,
    strace: false,
    verbose: false,
    debug: false,
  });
  const sregs = new ArrayBuffer(SREGS_SIZE);
  writeInitialSregs(sregs);
  const none = new ArrayBuffer(0);
  const debugRegs = new ArrayBuffer(DEBUG_REGS_SIZE);
  const vcpu = {
    regs: none,
    sregs,
    xsave: undefined,
    xcrs: none,
    events: none,
    debugRegs,
    msrs: SYSTEM_CALL_MSRS,
  };
  return { ram: new DataView(ram), sregs: sregsView(sregs), vcpu };
}

const check = ({ ram, vcpu }: Guest) =>
  checkCpl0(ram.buffer as ArrayBuffer, ram.byteLength, kernel, vcpu);

t.test('what a program may change', async (t) => {
  const guest = freshGuest();
  guest.sregs.fs.base = 0x1234n;
  guest.sregs.cr2 = 16n;
  togglePge(new DataView(guest.vcpu.sregs), 0);
  new DataView(guest.vcpu.debugRegs).setBigUint64(32, 0xffff4ff0n, true); // DR6.BS
  new DataView(guest.vcpu.debugRegs).setBigUint64(40, 0x400n, true);
  guest.ram.setUint8(layout.SHARED_GPA, 1);
  guest.ram.setUint8(layout.KERNEL_GPA + 0x1000, 0xcc);
  t.doesNotThrow(() => check(guest));
});

/** The root's entry for the kernel window, and the third-level table below it. */
const ROOT_SLOT = layout.PT_GPA;
const level3 = (ram: DataView) => Number(ram.getBigUint64(ROOT_SLOT, true) & ~0xfffn);

const attacks: [what: string, message: RegExp, change: (guest: Guest) => void][] = [
  ['a gate', /descriptor tables/, ({ ram }) => ram.setUint8(layout.IDT_GPA + 2, 0x10)],
  ['a segment', /descriptor tables/, ({ ram }) => ram.setUint8(layout.GDT_GPA + 0x35, 0x9b)],
  ['a stack in the TSS', /descriptor tables/, ({ ram }) => ram.setUint8(layout.TSS_GPA + 0x24, 1)],
  ['the entry', /entry/, ({ ram }) => ram.setUint8(layout.KERNEL_GPA + 0xfff, 0xcc)],
  [
    'a table outside of the pool',
    /page tables/,
    ({ ram }) => ram.setBigUint64(ROOT_SLOT + 8, 0x1000067n, true),
  ],
  [
    'a root that leads to itself',
    /kernel window/,
    ({ ram }) => ram.setBigUint64(ROOT_SLOT, BigInt(layout.PT_GPA) | 0x67n, true),
  ],
  [
    'another block where the kernel is',
    /kernel window/,
    ({ ram }) => {
      const level2 = Number(ram.getBigUint64(level3(ram) + 8, true) & ~0xfffn);
      const slot = level2 + 8 * (Math.floor(layout.KERNEL_VA / 0x200000) % 512);
      ram.setBigUint64(slot, 0x10000e7n, true);
    },
  ],
  ['IDTR', /registers/, ({ sregs }) => (sregs.idt.base += 8n)],
  ['CR3', /registers/, ({ sregs }) => (sregs.cr3 = 0x20000n)],
  ['CR4', /registers/, ({ sregs }) => (sregs.cr4 |= 1n << 22n)],
  ['CPL', /registers/, ({ sregs }) => (sregs.cs.selector = 0x10)],
  ['a breakpoint', /debug registers/, ({ vcpu }) => new DataView(vcpu.debugRegs).setUint8(40, 1)],
  [
    'LSTAR',
    /registers/,
    ({ vcpu }) => (vcpu.msrs = SYSTEM_CALL_MSRS.map(([i, value]) => [i, value + 16n])),
  ],
];

for (const [what, message, change] of attacks) {
  t.test(`no template: ${what}`, async (t) => {
    const guest = freshGuest();
    change(guest);
    t.throws(() => check(guest), { code: 'MAYFLY_TEMPLATE_TAMPERED', message });
  });
}

t.test('the ranges rise and lie in RAM', async (t) => {
  for (const nestedPaging of [false, true]) {
    let end = 0;
    for (const [offset, length] of guardedRanges(nestedPaging)) {
      t.ok(offset >= end && length > 0 && length % 4096 === 0);
      end = offset + length;
    }
  }
});
