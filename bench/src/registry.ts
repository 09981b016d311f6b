import type { Benchmark } from './benchmark.js';
import { cpus } from './cpu.js';
import { frame } from './frame.js';
import { httpNode, httpNodeProcess } from './http-node.js';
import { memories } from './memory.js';
import { rewinds } from './rewind.js';
import { starts } from './start.js';
import { syscalls } from './syscall.js';

/** Every benchmark, in the order in which they run. */
export const benchmarks: readonly Benchmark[] = [
  ...rewinds,
  ...syscalls,
  ...cpus,
  ...starts,
  ...memories,
  frame,
  httpNode,
  httpNodeProcess,
];
