/** The root file system of `mayfly run`: its images, and how they want to be started. */
import { statSync } from 'node:fs';
import {
  addFolder,
  defaultImageDir,
  type ImageConfig,
  ImageLibrary,
  type ImportProgress,
  Tree,
} from '@mayfly/image';
import { MayflyError } from '@mayfly/protocol';

/** A folder of this host and where its copy is in the guest. */
export interface FolderMapping {
  host: string;
  guest: string;
}

interface Wanted {
  /** As `--image` names them, bottom first. None: the program comes from this host. */
  images: string[];
  dirs: FolderMapping[];
  hostProgram: () => string;
  onProgress: (progress: ImportProgress) => void;
}

export interface Root {
  /** Paths of EROFS images, bottom first. */
  images: string[];
  /** The host's program, when there is no image. */
  program?: string;
  /** Whether that is what is started, whatever the layers above it hold. */
  startsAsItIs: boolean;
  /** What the topmost image that says so wants to be started, with which environment and where. */
  command: string[];
  env: Record<string, string>;
  cwd?: string;
}

/** Finds or makes the images. Throws MAYFLY_IMAGE_*, MAYFLY_PROGRAM_* and MAYFLY_ELF_*. */
export async function imageRoot({ images, dirs, hostProgram, onProgress }: Wanted): Promise<Root> {
  const program = images.length === 0 ? hostProgram() : undefined;
  for (const { host } of dirs) checkFolder(host);
  const library = await ImageLibrary.open(defaultImageDir());
  const onBuild = (doneBytes: number, totalBytes: number) =>
    onProgress({ step: 'write', doneBytes, totalBytes });
  const digests: string[] = [];
  let config: ImageConfig | undefined;
  let startsAsItIs = false;
  if (program !== undefined) {
    const image = await library.store.buildProgram(program, { onProgress: onBuild });
    digests.push(image.digest);
    startsAsItIs = image.isElf && dirs.length === 0;
  }
  for (const image of images) {
    const record = await library.find(image, onProgress);
    digests.push(...record.layers);
    config = record.config ?? config;
  }
  for (const { host, guest } of dirs) {
    const tree = await folderTree(host, guest);
    digests.push((await library.store.build(tree, { onProgress: onBuild })).digest);
  }
  return {
    images: await Promise.all(digests.map((digest) => pathOf(library, digest))),
    ...(program !== undefined && { program }),
    startsAsItIs,
    command: [...(config?.entrypoint ?? []), ...(config?.cmd ?? [])],
    env: config?.env ?? {},
    ...(config !== undefined && config.cwd !== '' && { cwd: config.cwd }),
  };
}

/** The guest's program is root there, so what it is given belongs to root. */
async function folderTree(host: string, guest: string): Promise<Tree> {
  const tree = new Tree();
  await addFolder(tree, host, { at: guest, owner: { uid: 0, gid: 0 } });
  return tree;
}

function checkFolder(host: string): void {
  if (statSync(host, { throwIfNoEntry: false })?.isDirectory()) return;
  throw new MayflyError('MAYFLY_IMAGE_NO_FILE', `--dir: there is no folder ${host}`);
}

async function pathOf(library: ImageLibrary, digest: string): Promise<string> {
  const image = await library.store.get(digest);
  if (image !== undefined) return image.path;
  throw new MayflyError('MAYFLY_IMAGE_NO_IMAGE', `the layer ${digest} was removed meanwhile`);
}
