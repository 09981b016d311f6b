/** Templates of versions: made in the pool, and removed from it when they are retired and the last invocation is over. */
import { randomBytes } from 'node:crypto';
import type { FunctionExport } from '@mayfly/protocol';
import type { Runtime as RuntimeName } from '@mayfly/protocol/api';
import type { Pool } from '@mayfly/vmm';
import { checkReadyHead } from './agent-head.js';
import { ApiError } from './errors.js';
import type { FunctionLog } from './function-log.js';
import type { Layers } from './layers.js';
import { nodeProgram } from './runtimes/node.js';
import { pythonProgram } from './runtimes/python.js';
import type { Program, Runtime, Source } from './runtimes/runtime.js';
import type { SourceFiles, VersionRecord } from './store/functions.js';

const RUNTIMES: Partial<Record<RuntimeName, Runtime>> = {
  node: nodeProgram,
  python: pythonProgram,
};

export interface Template {
  /** In the pool. */
  name: string;
  exports: FunctionExport;
  bootMicros: number;
  inFlight: number;
  retired: boolean;
}

export class Templates {
  readonly #pool: Pool;
  readonly #layers: Layers;
  readonly #bootTimeoutMs: number;

  constructor(pool: Pool, layers: Layers, bootTimeoutMs: number) {
    this.#pool = pool;
    this.#layers = layers;
    this.#bootTimeoutMs = bootTimeoutMs;
  }

  /** @throws ApiError MAYFLY_SOURCE_INVALID, FUNCTION_* (with status 400); MayflyError of the pool */
  async make(
    name: string,
    { version, runtime, entry, command, port, memoryBytes, env }: VersionRecord,
    files: SourceFiles,
    log: FunctionLog,
  ): Promise<Template> {
    const program = await programOf({ name, files, entry, command, port }, runtime, this.#layers);
    const template = `${name}@${version}-${randomBytes(4).toString('hex')}`;
    const { bootMicros, readyHead } = await this.#pool.deploy({
      name: template,
      ...program,
      env: { ...env, ...program.env },
      memoryBytes,
      bootTimeoutMs: this.#bootTimeoutMs,
    });
    try {
      const head = checkReadyHead(readyHead);
      log.append(head.logs, version);
      if (head.type === 'error') {
        const { type: _, code, message, ...details } = head;
        throw new ApiError(code, message, { ...details, status: 400 });
      }
      return { name: template, exports: head.exports, bootMicros, inFlight: 0, retired: false };
    } catch (error) {
      await this.#pool.remove(template);
      throw error;
    }
  }

  /** The template is there until what is returned is called. */
  hold(template: Template): () => void {
    template.inFlight++;
    return () => {
      template.inFlight--;
      this.#removeIfUnused(template);
    };
  }

  retire(template: Template): void {
    template.retired = true;
    this.#removeIfUnused(template);
  }

  #removeIfUnused({ retired, inFlight, name }: Template): void {
    // A failure to remove costs memory until the pool closes, and there is nobody to tell.
    if (retired && inFlight === 0) this.#pool.remove(name).catch(() => {});
  }
}

function programOf(source: Source, name: RuntimeName, layers: Layers): Promise<Program> {
  const runtime = RUNTIMES[name];
  if (runtime) return runtime(source, layers);
  throw new ApiError('MAYFLY_SOURCE_INVALID', `there is no agent for ${name} yet`);
}
