/** The images that a program starts in, and how it starts there. */
import {
  defaultImageDir,
  findStart,
  ImageRoot,
  ImageStore,
  type ProgramStart,
} from '@mayfly/image';
import type { BootOptions } from './run-program.js';

interface Root {
  images: readonly string[];
  start: ProgramStart;
}

/** Throws MAYFLY_ELF_*, MAYFLY_PROGRAM_* and MAYFLY_IMAGE_*. */
export async function programRoot(options: BootOptions): Promise<Root> {
  const { program, args, onBuild } = options;
  let { images, startsAsItIs = false } = options;
  if (images === undefined) {
    const store = await ImageStore.open(options.imageDir ?? defaultImageDir());
    const image = await store.buildProgram(program, { ...(onBuild && { onProgress: onBuild }) });
    images = [image.path];
    startsAsItIs = image.isElf;
  }
  const start = startsAsItIs ? { program, argv: [program, ...args] } : startIn(images, options);
  return { images, start };
}

function startIn(images: readonly string[], options: BootOptions): ProgramStart {
  const root = new ImageRoot(images);
  try {
    const { program, args, env, cwd } = options;
    return findStart(root, program, args, { path: env.PATH, ...(cwd !== undefined && { cwd }) });
  } finally {
    root.close();
  }
}
