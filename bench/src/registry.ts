import type { Benchmark } from './benchmark.js';
import { frame } from './frame.js';
import { httpNode, httpNodeProcess } from './http-node.js';
import { rewinds } from './rewind.js';
import { syscalls } from './syscall.js';

/** Every benchmark, in the order in which they run. */
export const benchmarks: readonly Benchmark[] = [
  ...rewinds,
  ...syscalls,
  frame,
  httpNode,
  httpNodeProcess,
];
