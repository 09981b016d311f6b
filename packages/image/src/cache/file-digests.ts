import { createHash } from 'node:crypto';
import { type BigIntStats, readFileSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { sourceChanged } from '../erofs/writer.js';
import { SMALL_READ_SIZE } from '../pacer.js';
import { unreadable } from '../tree/folder.js';
import { isSettled, stateOf } from '../tree/sightings.js';
import { replaceFile } from './durable.js';

const READ_SIZE = 1024 * 1024;
/** About 16 MB as text. The oldest go first. */
const FILES_MAX = 100_000;

/** What tells two states of a file apart without reading it. */
interface Fingerprint {
  inode: string;
  state: string;
  size: number;
  /** Else its digest is not kept. */
  settled: boolean;
}

/**
 * SHA-256 of host files, remembered by inode, size and times, so that a file is read once and not at every build. It is only
 * a cache: losing it costs time.
 */
export class FileDigests {
  readonly #path: string;
  #loaded: KnownFiles | undefined;

  /** The file has a line for each known one: inode, state, digest. It is read when something is asked for. */
  constructor(path: string) {
    this.#path = path;
  }

  get #known(): KnownFiles {
    this.#loaded ??= new KnownFiles(readText(this.#path));
    return this.#loaded;
  }

  /** The digest of a file and a check to run later that the file is still the same. */
  async of(hostPath: string): Promise<{ digest: string; verify: () => void }> {
    const before = fingerprintOf(hostPath);
    const known = this.#known.get(before.inode);
    const verify = () => {
      if (fingerprintOf(hostPath).state !== before.state) throw sourceChanged(hostPath);
    };
    if (known?.state === before.state) return { digest: known.digest, verify };
    const digest = before.size > SMALL_READ_SIZE ? await hashFile(hostPath) : hashSmall(hostPath);
    verify();
    if (before.settled) this.#known.set(before.inode, { state: before.state, digest });
    return { digest, verify };
  }

  async save(): Promise<void> {
    if (this.#loaded?.changed) await replaceFile(this.#path, this.#loaded.text());
  }
}

/** '' when it cannot be read. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

interface Known {
  state: string;
  digest: string;
}

const LINE = /^(\S+) (\S+) ([0-9a-f]{64})$/;
/** So many look-ups are quicker in the text than to take all its lines apart. */
const SEARCHES_MAX = 32;

/** What is known of files. There may be thousands when a program wants five. */
class KnownFiles {
  readonly #text: string;
  #searches = 0;
  #map: Map<string, Known> | undefined;
  changed = false;

  constructor(text: string) {
    this.#text = `\n${text}`;
  }

  get(inode: string): Known | undefined {
    if (this.#map !== undefined || ++this.#searches > SEARCHES_MAX) return this.#all().get(inode);
    const at = this.#text.indexOf(`\n${inode} `);
    if (at < 0) return undefined;
    return parseLine(this.#text.slice(at + 1, this.#text.indexOf('\n', at + 1)))?.[1];
  }

  set(inode: string, known: Known): void {
    const map = this.#all();
    map.delete(inode);
    map.set(inode, known);
    if (map.size > FILES_MAX) map.delete(map.keys().next().value!);
    this.changed = true;
  }

  text(): string {
    this.changed = false;
    const lines = [...this.#all()].map(([inode, { state, digest }]) => [inode, state, digest]);
    return lines.map((line) => `${line.join(' ')}\n`).join('');
  }

  #all(): Map<string, Known> {
    this.#map ??= new Map(
      this.#text
        .split('\n')
        .map(parseLine)
        .filter((line) => line !== undefined),
    );
    return this.#map;
  }
}

function parseLine(line: string): [string, Known] | undefined {
  const match = LINE.exec(line);
  return match === null ? undefined : [match[1]!, { state: match[2]!, digest: match[3]! }];
}

function fingerprintOf(hostPath: string): Fingerprint {
  const stat = statOf(hostPath);
  return {
    inode: `${stat.dev}:${stat.ino}`,
    state: stateOf(stat),
    size: Number(stat.size),
    settled: isSettled(stat),
  };
}

function statOf(hostPath: string): BigIntStats {
  try {
    return statSync(hostPath, { bigint: true });
  } catch (error) {
    throw unreadable(hostPath, error);
  }
}

function hashSmall(hostPath: string): string {
  try {
    return createHash('sha256').update(readFileSync(hostPath)).digest('hex');
  } catch (error) {
    throw unreadable(hostPath, error);
  }
}

/** SHA-256 of a file, hex. Throws MAYFLY_IMAGE_* when it cannot be read. */
export async function hashFile(hostPath: string): Promise<string> {
  const hash = createHash('sha256');
  const bytes = Buffer.alloc(READ_SIZE);
  const file = await open(hostPath, 'r').catch((error: unknown) => {
    throw unreadable(hostPath, error);
  });
  try {
    for (;;) {
      const { bytesRead } = await file.read(bytes, 0, READ_SIZE, null);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(bytes.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
