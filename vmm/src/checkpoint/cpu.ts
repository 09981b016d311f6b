/** What programs can see of the processor: a checkpoint only runs where all of it is there. */
import { cpuField, REQUIRED, readCpuinfo } from '../machine/cpuinfo.js';

/** `features`: as /proc/cpuinfo names them, sorted. */
export interface CpuDescription {
  vendor: string;
  model: string;
  features: string[];
}

/** Instructions and state that user code can find by CPUID and use; what only kernels use is left out. */
const USER_FEATURES = new Set(
  [
    'fpu tsc cx8 cmov mmx mmxext fxsr fxsr_opt sse sse2 pni ssse3 sse4_1 sse4_2 sse4a misalignsse',
    'fma fma4 xop tbm cx16 movbe popcnt aes pclmulqdq vaes vpclmulqdq gfni sha_ni f16c rdrand rdseed',
    'avx avx2 abm lahf_lm bmi1 bmi2 adx erms fsrm fsgsbase rdtscp rdpid clflush clflushopt',
    'clwb clzero xsave xsaveopt xsavec xgetbv1 pku ospke prefetchw 3dnowprefetch invpcid rtm hle serialize movdiri movdir64b',
    'waitpkg lm syscall constant_tsc nonstop_tsc',
  ].flatMap((line) => line.split(' ')),
);
const USER_FAMILIES = ['3dnow', 'avx512', 'avx_', 'amx_'];

const isForUsers = (flag: string) =>
  USER_FEATURES.has(flag) || USER_FAMILIES.some((prefix) => flag.startsWith(prefix));

/** Reads the description from the text of proc_cpuinfo(5). */
export function describeCpu(cpuinfo = readCpuinfo()): CpuDescription {
  return {
    vendor: cpuField(cpuinfo, 'vendor_id'),
    model: cpuField(cpuinfo, 'model name'),
    features: cpuField(cpuinfo, 'flags').split(' ').filter(isForUsers).sort(),
  };
}

/**
 * The features that `host` lacks. What no machine starts without is there where machines start, even if /proc/cpuinfo hides it as
 * some kernels do with fsgsbase.
 */
export function missingFeatures(wanted: CpuDescription, host: CpuDescription): string[] {
  const there = new Set([...host.features, ...REQUIRED]);
  return wanted.features.filter((feature) => !there.has(feature));
}
