/** Templates of versions: made in the pool or loaded by it from disk, and removed when they are retired. */
import { randomBytes } from 'node:crypto';
import type { FunctionExport } from '@mayfly/protocol';
import type { DeploymentStep, Runtime as RuntimeName } from '@mayfly/protocol/api';
import { checkReadyHead } from './agent-head.js';
import { ApiError } from './errors.js';
import type { FunctionLog } from './function-log.js';
import type { Layers } from './layers.js';
import { httpProgram } from './runtimes/http.js';
import { nativeProgram } from './runtimes/native.js';
import { nodeProgram } from './runtimes/node.js';
import { pythonProgram } from './runtimes/python.js';
import type { Runtime } from './runtimes/runtime.js';
import { wasmProgram } from './runtimes/wasm.js';
import type { FunctionLoad, ScheduledPool, SchedulingSettings } from './scheduler/index.js';
import type { Settings, SourceFiles, VersionRecord } from './store/functions.js';
import { warmUpCalls } from './warm-up.js';

const RUNTIMES: Readonly<Record<RuntimeName, Runtime>> = {
  node: nodeProgram,
  python: pythonProgram,
  native: nativeProgram,
  http: httpProgram,
  wasm: wasmProgram,
};

export interface Template {
  /** In the pool. */
  name: string;
  exports: FunctionExport;
  bootMicros: number;
  /** Variables reach the program when it boots, and never again: it reads no frames. */
  bootsWithVariables: boolean;
}

/** Told when a step of a deployment begins; `images`: paths of what is booted. */
export type OnStep = (step: DeploymentStep['step'], images?: readonly string[]) => void;

/** A function's own, whatever its version. */
export interface Variables {
  variables: Record<string, string>;
  secrets: Record<string, string>;
}

export class Templates {
  readonly #pool: ScheduledPool;
  readonly #layers: Layers;
  readonly #bootTimeoutMs: number;

  constructor(pool: ScheduledPool, layers: Layers, bootTimeoutMs: number) {
    this.#pool = pool;
    this.#layers = layers;
    this.#bootTimeoutMs = bootTimeoutMs;
  }

  /**
   * @param variables are in the template of a program that could not get them later. With secrets among them it is not
   *   stored: what is on disk beside the database holds none.
   * @throws ApiError MAYFLY_SOURCE_INVALID, FUNCTION_* (with status 400); MayflyError of the pool
   */
  async make(
    { name, variables, secrets }: Variables & { name: string },
    record: VersionRecord,
    files: SourceFiles,
    log: FunctionLog,
    onStep: OnStep = () => {},
  ): Promise<Template> {
    onStep('image');
    const { version, runtime, entry, command, port, memoryBytes, env, network } = record;
    const warmup = warmUpCalls(record);
    const source = { name, files, entry, command, port, warmup };
    const { defaults, ...program } = await RUNTIMES[runtime](source, this.#layers);
    onStep('boot', program.images);
    const bootsWithVariables = (program.dialect?.kind ?? 'frames') !== 'frames';
    const own = bootsWithVariables ? { ...variables, ...secrets } : {};
    const storable = !bootsWithVariables || Object.keys(secrets).length === 0;
    const template = `${name}@${version}-${randomBytes(4).toString('hex')}`;
    const { bootMicros, readyHead } = await this.#pool.deploy({
      name: template,
      ...program,
      env: { ...defaults, ...env, ...own, ...program.env },
      memoryBytes,
      network: network?.allow ?? [],
      ...(storable && { stored: { group: name, version: String(version) } }),
      bootTimeoutMs: this.#bootTimeoutMs,
      scheduling: schedulingOf(record),
    });
    try {
      const head = checkReadyHead(readyHead);
      log.append(head.logs, version);
      if (head.type === 'error') {
        const { type: _, code, message, ...details } = head;
        throw new ApiError(code, message, { ...details, status: 400 });
      }
      return { name: template, exports: head.exports, bootMicros, bootsWithVariables };
    } catch (error) {
      await this.#pool.remove(template);
      throw error;
    }
  }

  /** What runs and waits in these templates together; undefined if the scheduler knows none of them. */
  load(templates: readonly Template[]): FunctionLoad | undefined {
    const loads = templates.flatMap(({ name }) => this.#pool.load(name) ?? []);
    if (loads.length === 0) return undefined;
    const sum = (key: keyof FunctionLoad) => loads.reduce((total, load) => total + load[key], 0);
    return {
      running: sum('running'),
      parked: sum('parked'),
      waiting: sum('waiting'),
      clones: sum('clones'),
      coldStarts: sum('coldStarts'),
    };
  }

  /** Invocations under way finish first. */
  retire({ name }: Template): void {
    // A failure to remove costs memory until the pool closes, and there is nobody to tell.
    this.#pool.remove(name).catch(() => {});
  }

  /** On disk stay the templates of these versions; of none, when the function is gone. */
  keepStored(name: string, versions: Iterable<number>): void {
    // What fails to go costs room until the next time.
    this.#pool.prune(name, [...versions].map(String)).catch(() => {});
  }
}

/** What was deployed says; the rest is the scheduler's default. */
function schedulingOf({
  timeoutMs,
  minClones,
  maxClones,
  queueMax,
  idleSeconds,
}: Settings): Partial<SchedulingSettings> {
  return {
    timeoutMs,
    ...(minClones !== undefined && { minClones }),
    ...(maxClones !== undefined && { maxClones }),
    ...(queueMax !== undefined && { queueMax }),
    ...(idleSeconds !== undefined && { idleMs: idleSeconds * 1000 }),
  };
}
