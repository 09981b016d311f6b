export type { ImageConfig } from './archive/container.js';
export { decompress } from './archive/decompress.js';
export { hashFile } from './cache/file-digests.js';
export { defaultImageDir, ImageLibrary, type ImportProgress } from './cache/library.js';
export { checkName as checkImageName, type ImageRecord, type NamedImage } from './cache/names.js';
export { ImageStore, type ProgramImage, type StoredImage } from './cache/store.js';
export * from './elf/index.js';
export { treeFromErofs } from './erofs/image-tree.js';
export { ErofsReader, type ListedEntry } from './erofs/reader.js';
export { type WriteOptions, type WrittenImage, writeErofs } from './erofs/writer.js';
export { findHostProgram } from './root/host-program.js';
export { ImageRoot } from './root/image-root.js';
export { findStart, PATH_DEFAULT, type ProgramStart } from './root/program-start.js';
export { findUser, type GuestUser } from './root/user.js';
export { addFolder, type FolderOptions, type Owner, treeFromFolder } from './tree/folder.js';
export {
  type Extra,
  type Program,
  type ProgramsOptions,
  treeFromPrograms,
} from './tree/programs.js';
export { type Attributes, type Entry, type FileSourceOf, Tree } from './tree/tree.js';
