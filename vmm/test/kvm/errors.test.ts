import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import t from 'tap';
import { GuestMemory, Kvm, KvmError, Rewinder } from '../../src/kvm/index.js';
import { createGuest, programs, skip, startRegs } from './tiny-guest.js';

t.test('errors are MayflyErrors with a code, the call and its errno', async (t) => {
  try {
    Kvm.open('/dev/no-such-kvm');
    t.fail('opened');
  } catch (error) {
    t.ok(error instanceof MayflyError);
    t.ok(error instanceof KvmError);
    t.match(error, {
      name: 'KvmError',
      code: 'MAYFLY_KVM_MISSING',
      syscall: 'open',
      errno: 'ENOENT',
      message: /no-such-kvm does not exist/,
    });
  }
});

t.test('a device that may not be opened is told apart', { skip: !process.getuid }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'mayfly-kvm-'));
  const path = join(directory, 'kvm');
  t.teardown(() => rmSync(directory, { recursive: true }));
  writeFileSync(path, '');
  chmodSync(path, 0);
  chmodSync(directory, 0o755);
  const open = `
    const { Kvm } = await import(${JSON.stringify(new URL('../../src/kvm/index.js', import.meta.url).href)});
    try { Kvm.open(${JSON.stringify(path)}); } catch (error) { console.log(error.code, error.errno); }`;
  if (process.getuid?.() === 0) chownSync(path, 1, 1);
  // Root may open anything: ask as somebody else.
  const uid = process.getuid?.() === 0 ? { setuid: 65534 } : {};
  const drop = uid.setuid ? `process.setuid(${uid.setuid});` : '';
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', wrap(open, drop)], {
    encoding: 'utf8',
  });
  t.equal(stdout.trim(), 'MAYFLY_KVM_PERMISSION EACCES');
});

/** The addon is loaded before the user is changed. */
function wrap(open: string, drop: string): string {
  const [, load = '', ...rest] = open.split('\n');
  return [load, drop, ...rest].join('\n');
}

t.test('what is no KVM device says which ioctl failed', async (t) => {
  t.throws(() => Kvm.open('/dev/null'), {
    code: 'MAYFLY_KVM_IOCTL',
    syscall: 'KVM_GET_API_VERSION',
    errno: 'ENOTTY',
    message: 'KVM_GET_API_VERSION failed: ENOTTY',
  });
});

t.test('a failing ioctl names itself and its errno', { skip }, async (t) => {
  const guest = createGuest(programs.spin);
  t.teardown(() => guest.close());
  t.throws(() => guest.vm.createVcpu(0), {
    code: 'MAYFLY_KVM_IOCTL',
    syscall: 'KVM_CREATE_VCPU',
    errno: 'EEXIST',
  });
  const sregs = guest.vcpu.getSregs();
  new DataView(sregs).setBigUint64(224, 0x80000000n, true);
  t.throws(() => guest.vcpu.setSregs(sregs), {
    code: 'MAYFLY_KVM_IOCTL',
    syscall: 'KVM_SET_SREGS',
    errno: 'EINVAL',
  });
  new DataView(guest.vcpu.runPage).setBigUint64(296, 1n << 40n, true);
  t.throws(() => guest.vcpu.run(), {
    code: 'MAYFLY_KVM_IOCTL',
    syscall: 'KVM_RUN',
    errno: 'EINVAL',
  });
});

t.test('wrong arguments are named, with their position', { skip }, async (t) => {
  const guest = createGuest(programs.spin);
  t.teardown(() => guest.close());
  const { vm, vcpu } = guest;
  const wrong = (message: RegExp) => ({ code: 'MAYFLY_KVM_ARGUMENT', message });
  t.throws(() => vm.createVcpu(1.5), wrong(/^id \(argument 2\) must be an integer/));
  t.throws(() => vm.createVcpu(5000), wrong(/id/));
  t.throws(() => vcpu.setRegs(new ArrayBuffer(143)), wrong(/must be 144 bytes, not 143/));
  t.throws(() => vcpu.setRegs('regs' as unknown as ArrayBuffer), wrong(/ArrayBuffer/));
  t.throws(() => vcpu.getMsrs(new Array(257).fill(0x10)), wrong(/256/));
  t.throws(
    () => vm.setMemory(1, 0, { size: 4096 } as unknown as GuestMemory),
    wrong(/GuestMemory/),
  );
  const notMemory = { handle: vcpu.handle, size: 4096 } as unknown as GuestMemory;
  t.throws(() => vm.setMemory(1, 0, notMemory), wrong(/argument 4 must be a GuestMemory/));
  t.throws(() => Kvm.open('x'.repeat(5000)), wrong(/path/));
});

t.test('use after close throws MAYFLY_KVM_CLOSED; closing twice does not', { skip }, async (t) => {
  const kvm = Kvm.open();
  kvm.close();
  kvm.close();
  const closed = { code: 'MAYFLY_KVM_CLOSED' };
  t.throws(() => kvm.createVm(), closed);
  t.throws(() => kvm.checkExtension(1), closed);

  const guest = createGuest(programs.spin);
  const file = GuestMemory.memfd(4096);
  const memory = GuestMemory.privateFile(file.fd, 4096);
  const { vcpu, vm } = guest;
  const regs = startRegs();
  const rewinder = Rewinder.create({
    memory,
    template: file,
    vcpu,
    regs,
    sregs: vcpu.getSregs(),
  });
  const spare = vm.createVcpu(1);
  spare.close();
  spare.close();
  t.throws(() => spare.run(), closed);
  vm.close();
  vm.close();
  t.throws(() => vm.createVcpu(1), closed);
  t.throws(() => vm.setMemory(1, 0, memory), closed);
  for (const use of [
    () => vcpu.run(),
    () => vcpu.runPage,
    () => vcpu.pioPort,
    () => vcpu.syncRegs,
    () => vcpu.getRegs(),
    () => vcpu.setRegs(regs),
    () => vcpu.dirty(true, true),
    () => vcpu.setSlice(5),
    () => vcpu.setClock(null),
    () => vcpu.completeIo(),
    () => vcpu.kickToken,
    () => vcpu.getMsrs([]),
    () => rewinder.rewind(),
    () => rewinder.rewindAndRun(),
  ]) {
    t.throws(use, closed, String(use));
  }
  t.equal(rewinder.dirtyPages().length, 0, 'needs no vCPU');
  memory.close();
  memory.close();
  file.close();
  t.equal(rewinder.dirtyPages().length, 0, 'keeps its memory');
  rewinder.close();
  rewinder.close();
  t.throws(() => rewinder.dirtyPages(), closed);
  for (const use of [() => memory.buffer, () => memory.address, () => memory.fd]) {
    t.throws(use, closed);
  }
  t.throws(() => memory.writeTo(1, 4096), closed);
});
