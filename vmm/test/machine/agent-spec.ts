/** A template of agent.c, which answers commands. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ImageStore, treeFromPrograms } from '@mayfly/image';
import type { TemplateSpec } from '../../src/pool/types.js';
import { compile } from './guest.js';

const SOURCE = fileURLToPath(new URL('../../../test/machine/agent.c', import.meta.url));

/** Its image is made in `scratch`. */
export async function agentSpec(scratch: string) {
  const agent = compile(SOURCE, 'agent');
  const images = await ImageStore.open(join(scratch, 'images'));
  const image = await images.build(await treeFromPrograms([{ path: agent }]));
  return {
    name: 'agent',
    images: [image.path],
    argv: [agent],
    env: {},
    memoryBytes: 64 << 20,
    bootTimeoutMs: 60_000,
  } satisfies TemplateSpec;
}
