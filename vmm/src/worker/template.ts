/**
 * A template in memory: everything that a clone starts from.
 *
 * The machine's RAM becomes an unlinked file, written in 2 MiB units so that the page cache holds it in large folios.
 * File descriptors belong to the whole process: every worker thread maps the same file.
 */
import { closeSync } from 'node:fs';
import type { Dialect } from '../dialects/dialect.js';
import { checkCpl0 } from '../machine/cpl0.js';
import { KernelImage } from '../machine/kernel-image.js';
import type { Machine } from '../machine/machine.js';
import { captureState, type MachineSource } from '../machine/machine-state.js';
import { openUnnamed } from '../memory/index.js';

/** Plain data: it crosses threads by structured clone. */
export interface Template extends MachineSource {
  id: number;
  name: string;
  /** What its clones may connect to. */
  network: readonly string[];
  /** How its program is spoken to; frames, if left out. */
  dialect?: Dialect | undefined;
}

/**
 * Takes a machine's state at an idle exit. The machine must not run again.
 * Throws MAYFLY_TEMPLATE_TAMPERED when its guest may have run code of its own at CPL 0, or its clones could.
 */
export function captureTemplate(
  machine: Machine,
  {
    directory,
    ...about
  }: Pick<Template, 'id' | 'name' | 'images' | 'network' | 'dialect'> & { directory: string },
): Template {
  const state = captureState(machine, true);
  const { buffer, size } = machine.memory;
  checkCpl0(buffer, size, KernelImage.default(), state.vcpu);
  const memoryFd = openUnnamed(directory);
  try {
    machine.memory.writeTo(memoryFd, machine.memory.size);
  } catch (error) {
    closeSync(memoryFd);
    throw error;
  }
  return { ...about, memoryFd, memorySize: machine.memory.size, state };
}
