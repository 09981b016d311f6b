/**
 * Pages that the first machines of a checkpoint wrote, kept beside it for the next ones. Only a cache: a file that is damaged
 * or belongs to another checkpoint counts as none.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as durable from '@mayfly/image/durable';
import { digestOf, type Manifest } from './manifest.js';
import { areRuns } from './pages.js';
import { WORKING_SET, writeFileSynced } from './parts.js';

const FORMAT = 'mayfly-working-set';
const VERSION = 1;

/** SHA-256 over what it belongs to and what it says. */
const digest = (id: string, runs: readonly number[]): string =>
  digestOf(Buffer.from(JSON.stringify([id, runs])));

/** Takes the place of the one before. `runs`: pairs [first page, count], rising and apart. */
export async function writeWorkingSet(
  folder: string,
  { id }: Manifest,
  runs: Uint32Array,
): Promise<void> {
  const pairs = [...runs];
  const value = { format: FORMAT, version: VERSION, checkpoint: id, sha256: digest(id, pairs) };
  await durable.createFile(folder, async (temporary) => {
    await writeFileSynced(temporary, JSON.stringify({ ...value, runs: pairs }));
    return WORKING_SET;
  });
}

/** undefined: there is none, or none that can be relied on. */
export function readWorkingSet(folder: string, { id, memory }: Manifest): Uint32Array | undefined {
  try {
    const text = readFileSync(join(folder, WORKING_SET), 'utf8');
    const { format, version, checkpoint, sha256, runs } = JSON.parse(text);
    const isOurs = format === FORMAT && version === VERSION && checkpoint === id;
    if (!isOurs || !Array.isArray(runs) || sha256 !== digest(id, runs)) return undefined;
    const pages = Uint32Array.from(runs);
    return areRuns(pages, memory.size) ? pages : undefined;
  } catch {
    return undefined;
  }
}
