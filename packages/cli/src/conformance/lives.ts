/** Clones by the pool that serves functions, each asked once what it drew and sees. */
import { randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { ImageLayers, nodeProgram, pythonProgram, type Runtime } from '@mayfly/api/programs';
import type { ImageStore } from '@mayfly/image';
import { MayflyError } from '@mayfly/protocol';
import { MachinePool, type Place, type Pool } from '@mayfly/vmm';
import type { Life, Sighting } from './findings.js';

/** 'new': each life in a clone that was made for it. 'rewound': in a clone that lived before, where it can be rewound. */
export const KINDS = ['new', 'rewound'] as const;
export type Kind = (typeof KINDS)[number];

export type RuntimeName = 'node' | 'python';

const PROBES: Record<RuntimeName, { file: string; named: string; runtime: Runtime }> = {
  node: { file: 'probe.mjs', named: 'index.js', runtime: nodeProgram },
  python: { file: 'probe.py', named: 'main.py', runtime: pythonProgram },
};

export const RUNTIMES = Object.keys(PROBES) as RuntimeName[];

const MEMORY_BYTES = 256 * 2 ** 20;
const BOOT_TIMEOUT_MS = 300_000;
const INVOKE_TIMEOUT_MS = 120_000;

export interface LivesOptions {
  runtime: RuntimeName;
  kind: Kind;
  count: number;
  images: ImageStore;
  /** For the template's memory. */
  directory: string;
  onLife(): void;
}

/** Throws what a pool throws, and MAYFLY_CONFORMANCE when a probe does not answer as it should. */
export async function livesOf(options: LivesOptions): Promise<Life[]> {
  const { runtime, kind, count, directory, onLife } = options;
  // A worker for each processor, and never more asked than there are workers: nothing waits.
  const pool = new MachinePool({ directory });
  try {
    await deploy(pool, options);
    const lives: Life[] = [];
    let asked = 0;
    const lane = async (worker: number) => {
      while (asked < count) {
        const place = { worker, clone: kind === 'new' ? asked : worker };
        asked++;
        lives.push(await oneLife(pool, runtime, place));
        if (kind === 'new') await pool.stop(runtime, place);
        onLife();
      }
    };
    const lanes = Math.min(pool.workers, count);
    await Promise.all(Array.from({ length: lanes }, (_, worker) => lane(worker)));
    return lives;
  } finally {
    await pool.close();
  }
}

async function deploy(pool: Pool, { runtime: name, images }: LivesOptions): Promise<void> {
  const { file, named, runtime } = PROBES[name];
  const path = fileURLToPath(new URL(`../../../conformance/${file}`, import.meta.url));
  const source = { bytes: await readFile(path), executable: false };
  const program = await runtime(
    { name, files: new Map([[named, source]]) },
    new ImageLayers(images),
  );
  const { readyHead } = await pool.deploy({
    ...program,
    name,
    memoryBytes: MEMORY_BYTES,
    bootTimeoutMs: BOOT_TIMEOUT_MS,
  });
  if (typeOf(readyHead) !== 'ready') throw unexpected(name, readyHead);
}

async function oneLife(pool: Pool, name: RuntimeName, place: Place): Promise<Life> {
  const now = Date.now();
  const entropy = randomBytes(64);
  const head = {
    type: 'event',
    id: randomUUID(),
    deadlineMs: now + INVOKE_TIMEOUT_MS,
    generation: entropy.toString('hex', 32),
    entropy: entropy.toString('base64', 0, 32),
    now,
  };
  const frame = { head, body: Buffer.from('null') };
  const askedMs = Date.now();
  const answer = await pool.invoke(name, frame, {
    place,
    timeoutMs: INVOKE_TIMEOUT_MS,
  });
  // Date.now() cuts the part of a millisecond off.
  const answeredMs = Date.now() + 1;
  if (typeOf(answer.head) !== 'result' || !(answer.body instanceof Uint8Array)) {
    throw unexpected(name, answer.head);
  }
  const sighting = JSON.parse(Buffer.from(answer.body).toString()) as Sighting;
  return { ...sighting, askedMs, answeredMs };
}

const typeOf = (head: unknown) => (head as { type?: unknown }).type;

function unexpected(name: RuntimeName, head: unknown): MayflyError {
  const message = `the ${name} probe answered ${JSON.stringify(head).slice(0, 1000)}`;
  return new MayflyError('MAYFLY_CONFORMANCE', message);
}
