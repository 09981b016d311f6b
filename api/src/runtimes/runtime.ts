/** What a runtime does: from the files that somebody deploys to what a guest boots. */
import type { WarmUpCall } from '@mayfly/protocol';
import type { Dialect } from '@mayfly/vmm';
import type { Layers } from '../layers.js';

export interface SourceFile {
  bytes: Uint8Array;
  executable: boolean;
}

/** A deployment: files by relative paths that do not leave their folder, and what the manifest says of how they run. */
export interface Source {
  /** The function's name, for messages. */
  name: string;
  files: ReadonlyMap<string, SourceFile>;
  entry?: string | undefined;
  command?: readonly string[] | undefined;
  port?: number | undefined;
  /** What the function answers before its template is made, one after the other. */
  warmup?: readonly WarmUpCall[];
}

/** What a guest runs. */
export interface Program {
  /** Paths of EROFS images, bottom first. */
  images: string[];
  argv: string[];
  /** Added to the function's own variables, before which they go. */
  env: Record<string, string>;
  /** Where the function has no variable of the name. */
  defaults?: Record<string, string>;
  cwd?: string;
  /** How it is spoken to; frames, if left out. */
  dialect?: Dialect;
}

/** Equal sources give equal programs. @throws ApiError MAYFLY_SOURCE_INVALID: what is wrong, and where */
export type Runtime = (source: Source, layers: Layers) => Promise<Program>;

/** What an agent reads of it. */
export function warmupEnv({ warmup = [] }: Source): Record<string, string> {
  return warmup.length === 0 ? {} : { MAYFLY_WARMUP: JSON.stringify(warmup) };
}
