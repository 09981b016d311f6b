import { createHash } from 'node:crypto';
import { type BigIntStats, readFileSync, statSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { sourceChanged } from '../erofs/writer.js';
import { SMALL_READ_SIZE } from '../pacer.js';
import { unreadable } from '../tree/folder.js';
import { replaceFile } from './durable.js';

const READ_SIZE = 1024 * 1024;
/** About 20 MB as JSON. The oldest go first. */
const FILES_MAX = 100_000;
/** A file changed this recently might change again within the same time stamp, so its digest is not kept. */
const SETTLED_MS = 2000;

/** What tells two states of a file apart without reading it. */
interface Fingerprint {
  inode: string;
  state: string;
  size: number;
  settled: boolean;
}

/**
 * SHA-256 of host files, remembered by inode, size and times, so that a file is read once and not at every build. It is only
 * a cache: losing it costs time.
 */
export class FileDigests {
  readonly #path: string;
  readonly #known: Map<string, { state: string; digest: string }>;
  #changed = false;

  constructor(path: string, known: Map<string, { state: string; digest: string }>) {
    this.#path = path;
    this.#known = known;
  }

  static async open(path: string): Promise<FileDigests> {
    const text = await readFile(path, 'utf8').catch(() => '[]');
    return new FileDigests(path, new Map(parseKnown(text)));
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
    if (before.settled) this.#remember(before, digest);
    return { digest, verify };
  }

  async save(): Promise<void> {
    if (!this.#changed) return;
    this.#changed = false;
    await replaceFile(this.#path, JSON.stringify([...this.#known]));
  }

  #remember({ inode, state }: Fingerprint, digest: string): void {
    this.#known.delete(inode);
    this.#known.set(inode, { state, digest });
    if (this.#known.size > FILES_MAX) this.#known.delete(this.#known.keys().next().value!);
    this.#changed = true;
  }
}

function parseKnown(text: string): [string, { state: string; digest: string }][] {
  try {
    const known: unknown = JSON.parse(text);
    return Array.isArray(known) ? known.filter(isKnown) : [];
  } catch {
    return [];
  }
}

function isKnown(item: unknown): item is [string, { state: string; digest: string }] {
  if (!Array.isArray(item) || typeof item[0] !== 'string') return false;
  const value = item[1] as { state?: unknown; digest?: unknown } | null;
  return typeof value?.state === 'string' && /^[0-9a-f]{64}$/.test(String(value.digest));
}

function fingerprintOf(hostPath: string): Fingerprint {
  const stat = statOf(hostPath);
  const settled = Date.now() - Number(stat.ctimeNs / 1_000_000n) > SETTLED_MS;
  const state = `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
  return { inode: `${stat.dev}:${stat.ino}`, state, size: Number(stat.size), settled };
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

async function hashFile(hostPath: string): Promise<string> {
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
