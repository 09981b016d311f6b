import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { KvmError } from '../../src/kvm/index.js';
import { missingCpuFeatures } from '../../src/machine/cpuinfo.js';
import { hasNestedPaging, startError } from '../../src/machine/host-cpu.js';
import { tryHost } from '../../src/machine/index.js';
import { skip } from '../kvm/tiny-guest.js';

const cpuinfo = (flags: string) => `processor\t: 0\nflags\t\t: ${flags}\nbugs\t\t: spectre_v1\n\n`;

t.test('features that a processor lacks are named', async (t) => {
  t.same(missingCpuFeatures(cpuinfo('fpu lm nx syscall fsgsbase xsave')), []);
  t.same(missingCpuFeatures(cpuinfo('fpu lm nx syscall xsaveopt')), ['fsgsbase', 'xsave']);
  t.equal(missingCpuFeatures('').length, 5, 'nothing is known');
});

t.test('a failure is blamed on the processor only where it lacks something', async (t) => {
  const cause = new Error('KVM_SET_SREGS: EINVAL');
  t.equal(startError(cause, cpuinfo('lm nx syscall fsgsbase xsave')), cause);
  t.match(startError(cause, cpuinfo('lm nx syscall xsave')), {
    code: 'MAYFLY_HOST_CPU',
    message: 'the processor lacks what guests need: fsgsbase',
    cause,
  });
});

t.test('a host without KVM is not blamed on the processor', async (t) => {
  const missing = new KvmError('MAYFLY_KVM_MISSING', 'there is no /dev/kvm');
  t.equal(startError(missing, cpuinfo('')), missing);
});

t.test('this host is good enough', { skip }, async (t) => {
  const fds = () => readdirSync('/proc/self/fd').length;
  tryHost();
  const before = fds();
  t.doesNotThrow(tryHost);
  t.equal(fds(), before, 'the machine is gone again');
});

t.test('nested paging is what the modules of KVM say', async (t) => {
  const modules = (files: Record<string, string>) =>
    t.testdir(
      Object.fromEntries(
        Object.entries(files).map(([module, parameters]) => {
          const [name = '', value = ''] = parameters.split('=');
          return [module, { parameters: { [name]: `${value}\n` } }];
        }),
      ),
    );
  t.equal(hasNestedPaging(modules({ kvm_amd: 'npt=Y' })), true);
  t.equal(hasNestedPaging(modules({ kvm_intel: 'ept=1' })), true);
  t.equal(hasNestedPaging(modules({ kvm_intel: 'ept=N' })), false, 'told not to');
  t.equal(hasNestedPaging(modules({ kvm_other: 'npt=Y' })), false, 'KVM of another kind');
  t.equal(hasNestedPaging(join(t.testdirName, 'missing')), false);
});
