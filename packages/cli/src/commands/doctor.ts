/** mayfly doctor: can this host run machines, and how well? */
import { existsSync, readFileSync } from 'node:fs';
import type { kvm } from '@mayfly/vmm';
import { cpuField, missingCpuFeatures, readCpuinfo } from '@mayfly/vmm/cpuinfo';
import type { Command } from 'commander';
import { examples } from '../examples.js';
import { type Io, printJson } from '../output.js';
import { formatSize } from '../units.js';

/** 'fail': nothing runs. 'warn': it runs, but slower or less of it. */
export interface Finding {
  check: string;
  result: 'ok' | 'warn' | 'fail';
  detail: string;
  /** What to do about it. */
  advice?: string;
}

/** KVM_CHECK_EXTENSION numbers (linux/kvm.h) of what the monitor cannot do without. */
const CAPABILITIES: Record<string, number> = {
  USER_MEMORY: 3,
  EXT_CPUID: 7,
  NR_MEMSLOTS: 10,
  XSAVE: 55,
  SYNC_REGS: 74,
  READONLY_MEM: 81,
  IMMEDIATE_EXIT: 136,
};

const MEMORY_BYTES_MIN = 512 * 2 ** 20;
/** A machine needs two. */
const FDS_MIN = 4096;

export function addDoctor(program: Command, io: Io): void {
  examples(program.command('doctor'), 'mayfly doctor', 'mayfly doctor --json')
    .description('Check whether this host can run machines. Exits with 1 if it cannot.')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const findings = await examine();
      const ok = findings.every(({ result }) => result !== 'fail');
      if (json) printJson(io, { ok, findings });
      else io.stdout(findings.map(findingText).join(''));
      process.exitCode = ok ? 0 : 1;
    });
}

export async function examine(): Promise<Finding[]> {
  const cpuinfo = readCpuinfo();
  const kvm = await examineKvm();
  const runs = kvm.every(({ result }) => result === 'ok') ? await trial() : undefined;
  return [
    ...kvm,
    ...(runs ? [runs] : []),
    processor(cpuinfo, runs?.result === 'ok'),
    kindOfKvm(cpuinfo),
    memory(),
    hugePages(),
    fileDescriptors(),
    nodeVersion(),
  ];
}

function findingText({ check, result, detail, advice }: Finding): string {
  const line = `${result.padEnd(5)} ${check}: ${detail}\n`;
  return advice ? `${line}      ${advice}\n` : line;
}

async function examineKvm(): Promise<Finding[]> {
  const check = '/dev/kvm';
  try {
    // Loaded here: that it does not load is a finding, too.
    const { kvm } = await import('@mayfly/vmm');
    const device = kvm.Kvm.open();
    try {
      return [{ check, result: 'ok', detail: 'usable' }, capabilities(device)];
    } finally {
      device.close();
    }
  } catch (error) {
    const { code = '', message } = error as { code?: string; message: string };
    return [{ check, result: 'fail', detail: message, advice: kvmAdvice(code) }];
  }
}

function kvmAdvice(code: string): string {
  if (code === 'MAYFLY_KVM_PERMISSION') {
    return 'add yourself to the group kvm: sudo usermod -aG kvm $USER, then log in again';
  }
  if (code === 'MAYFLY_KVM_ADDON') return 'build the native addon: npm run setup';
  return 'load the module (sudo modprobe kvm_intel or kvm_amd), enable virtualisation in the firmware, or use a host that passes /dev/kvm through';
}

function capabilities(device: kvm.Kvm): Finding {
  const check = 'KVM capabilities';
  const missing = Object.entries(CAPABILITIES)
    .filter(([, number]) => device.checkExtension(number) === 0)
    .map(([name]) => `KVM_CAP_${name}`);
  if (missing.length === 0) return { check, result: 'ok', detail: 'all there' };
  const detail = `missing: ${missing.join(', ')}`;
  return { check, result: 'fail', detail, advice: 'use a newer kernel' };
}

/** Runs the smallest guest there is. */
async function trial(): Promise<Finding> {
  const check = 'machine';
  try {
    const { tryHost } = await import('@mayfly/vmm/machine');
    tryHost();
    return { check, result: 'ok', detail: 'a trial guest runs' };
  } catch (error) {
    const { code = '', message } = error as { code?: string; message: string };
    const advice =
      code === 'MAYFLY_HOST_CPU'
        ? PROCESSOR_ADVICE
        : 'build the guest kernel with `npm run setup`; if it is there, see the kernel’s log (dmesg)';
    return { check, result: 'fail', detail: message, advice };
  }
}

const PROCESSOR_ADVICE =
  'use a newer processor; in a virtual machine, pass the features of its host on';

/** What a guest that runs has shown is there, whatever /proc/cpuinfo says. */
export function processor(cpuinfo: string, hasRun: boolean): Finding {
  const check = 'processor';
  const model = cpuField(cpuinfo, 'model name') || 'unknown';
  const missing = hasRun ? [] : missingCpuFeatures(cpuinfo);
  if (missing.length === 0) return { check, result: 'ok', detail: model };
  const detail = `${model}; /proc/cpuinfo does not have what guests need: ${missing.join(', ')}`;
  return { check, result: 'warn', detail, advice: PROCESSOR_ADVICE };
}

function kindOfKvm(cpuinfo: string): Finding {
  const check = 'kind of KVM';
  const flags = cpuField(cpuinfo, 'flags').split(' ');
  const extension = flags.includes('vmx') ? 'VT-x' : flags.includes('svm') ? 'SVM' : undefined;
  const module = ['kvm_intel', 'kvm_amd'].find((name) => existsSync(`/sys/module/${name}`));
  if (extension)
    return { check, result: 'ok', detail: `hardware (${extension}, ${module ?? 'built in'})` };
  const advice =
    'machines run, but an exit costs about 50 µs instead of 2; use a host with VT-x or SVM for speed';
  return { check, result: 'warn', detail: 'pagetable-based (no VT-x or SVM)', advice };
}

function memory(): Finding {
  const kilobytes = Number(/^MemAvailable:\s+(\d+) kB$/m.exec(read('/proc/meminfo'))?.[1] ?? 0);
  const bytes = kilobytes * 1024;
  const finding = { check: 'memory', detail: `${formatSize(bytes)} available` };
  if (bytes >= MEMORY_BYTES_MIN) return { ...finding, result: 'ok' };
  const advice = `a template of a Node.js function wants ${formatSize(MEMORY_BYTES_MIN)}`;
  return { ...finding, result: 'warn', advice };
}

function hugePages(): Finding {
  const check = 'transparent huge pages';
  const setting = /\[(\w+)\]/.exec(read('/sys/kernel/mm/transparent_hugepage/enabled'))?.[1];
  if (setting === 'always' || setting === 'madvise')
    return { check, result: 'ok', detail: setting };
  const advice = 'echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled';
  return { check, result: 'warn', detail: setting ?? 'not there', advice };
}

function fileDescriptors(): Finding {
  const soft = /^Max open files\s+(\S+)/m.exec(read('/proc/self/limits'))?.[1] ?? '0';
  const finding = { check: 'file descriptors', detail: `${soft} a process` };
  if (soft === 'unlimited' || Number(soft) >= FDS_MIN) return { ...finding, result: 'ok' };
  return { ...finding, result: 'warn', advice: `a machine needs two: ulimit -n ${FDS_MIN}` };
}

function nodeVersion(): Finding {
  const finding = { check: 'Node.js', detail: process.version };
  if (Number(process.versions.node.split('.')[0]) >= 20) return { ...finding, result: 'ok' };
  return { ...finding, result: 'fail', advice: 'install Node.js 20 or newer' };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
