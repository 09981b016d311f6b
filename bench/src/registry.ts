import type { Benchmark } from './benchmark.js';
import { cliStarts } from './cli-start.js';
import { clones } from './clone.js';
import { colds } from './cold.js';
import { cpus } from './cpu.js';
import { densities } from './density.js';
import { firstCalls } from './first-call.js';
import { frame } from './frame.js';
import { httpHost } from './http-host.js';
import { https } from './http-node.js';
import { memories } from './memory.js';
import { peers } from './peers.js';
import { poolProcess } from './pool-process.js';
import { rewinds } from './rewind.js';
import { rewindCopies } from './rewind-copy.js';
import { rewindNode } from './rewind-node.js';
import { scaling } from './scaling.js';
import { starts } from './start.js';
import { syscalls } from './syscall.js';
import { templateMemory } from './template-memory.js';

/** Every benchmark, in the order in which they run. */
export const benchmarks: readonly Benchmark[] = [
  ...rewinds,
  ...rewindCopies,
  rewindNode,
  ...clones,
  ...colds,
  ...syscalls,
  ...cpus,
  ...cliStarts,
  ...starts,
  ...memories,
  templateMemory,
  ...densities,
  frame,
  ...firstCalls,
  httpHost,
  poolProcess,
  ...https,
  ...peers,
  scaling,
];
