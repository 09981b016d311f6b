/** The root file system of `mayfly run`: its images, and how they want to be started. */
import { statSync } from 'node:fs';
import {
  addFolder,
  defaultImageDir,
  findUser,
  type GuestUser,
  type ImageConfig,
  ImageLibrary,
  ImageRoot,
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
  /** As `--user` names it; undefined: what the image says. */
  user: string | undefined;
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
  /** Absent: root. */
  user?: GuestUser;
}

/** Finds or makes the images. Throws MAYFLY_IMAGE_*, MAYFLY_PROGRAM_*, MAYFLY_ELF_* and MAYFLY_USER_UNKNOWN. */
export async function imageRoot(wanted: Wanted): Promise<Root> {
  const { images, dirs, hostProgram, onProgress } = wanted;
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
  const user = userOf(await pathsOf(library, digests), wanted.user ?? config?.user ?? '');
  for (const { host, guest } of dirs) {
    const tree = await folderTree(host, guest, user ?? { uid: 0, gid: 0 });
    digests.push((await library.store.build(tree, { onProgress: onBuild })).digest);
  }
  return {
    images: await pathsOf(library, digests),
    ...(user !== undefined && { user }),
    ...(program !== undefined && { program }),
    startsAsItIs,
    command: [...(config?.entrypoint ?? []), ...(config?.cmd ?? [])],
    env: config?.env ?? {},
    ...(config !== undefined && config.cwd !== '' && { cwd: config.cwd }),
  };
}

/** Who starts the program; undefined: nobody is named, so it is root. */
function userOf(images: readonly string[], text: string): GuestUser | undefined {
  if (text === '') return undefined;
  const root = new ImageRoot(images);
  try {
    return findUser(root, text);
  } finally {
    root.close();
  }
}

/** What the guest's program is given belongs to it. */
async function folderTree(
  host: string,
  guest: string,
  { uid, gid }: { uid: number; gid: number },
): Promise<Tree> {
  const tree = new Tree();
  await addFolder(tree, host, { at: guest, owner: { uid, gid } });
  return tree;
}

function checkFolder(host: string): void {
  if (statSync(host, { throwIfNoEntry: false })?.isDirectory()) return;
  throw new MayflyError('MAYFLY_IMAGE_NO_FILE', `--dir: there is no folder ${host}`);
}

function pathsOf(library: ImageLibrary, digests: readonly string[]): Promise<string[]> {
  return Promise.all(digests.map((digest) => pathOf(library, digest)));
}

async function pathOf(library: ImageLibrary, digest: string): Promise<string> {
  const image = await library.store.get(digest);
  if (image !== undefined) return image.path;
  throw new MayflyError('MAYFLY_IMAGE_NO_IMAGE', `the layer ${digest} was removed meanwhile`);
}
