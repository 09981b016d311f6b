/**
 * A pool whose workers are in processes of their own: what brings one of them down, a defect of the native code or of KVM,
 * takes the invocations that it had begun, and neither the server nor those of the others.
 *
 * A template is made in one process and loaded by the others from the store, once they need it; where it is not stored, each
 * makes its own. A process that dies is replaced, and its templates come the same way.
 */
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { MayflyError } from '@mayfly/protocol';
import { isWorkerGone, NotBegun } from './failures.js';
import type { MachinePoolOptions } from './machine-pool.js';
import { PoolProcess } from './pool-process.js';
import type { ProcessSettings } from './process-messages.js';
import type {
  InvokeFrame,
  InvokeOptions,
  InvokeResult,
  Place,
  Pool,
  TemplateSpec,
} from './types.js';

export interface MachineProcessesOptions extends Omit<MachinePoolOptions, 'journal'> {
  processes: number;
  /** Of each process; left out: that all together are one a core, and each has one. */
  workers?: number;
}

/** An invocation that several processes died of, one after the other, is not given to one more. */
const ATTEMPTS = 3;

interface Known {
  spec: TemplateSpec;
  /** The process that made it first. */
  home: PoolProcess;
}

/** A process and the templates that it has, or is about to have. */
interface Member {
  process: PoolProcess;
  templates: Map<string, Promise<void> | 'there'>;
}

export class MachineProcesses implements Pool {
  readonly workers: number;
  readonly #perProcess: number;
  readonly #settings: ProcessSettings;
  readonly #members: Member[];
  readonly #known = new Map<string, Known>();
  #workerLost: (worker: number) => void = () => {};
  #nextHome = 0;
  #closing = false;

  constructor({ processes, worker, ...options }: MachineProcessesOptions) {
    if (!Number.isInteger(processes) || processes < 1) {
      throw new MayflyError('MAYFLY_BAD_ARGUMENT', 'there must be at least one process');
    }
    const { workers = Math.max(1, Math.round(availableParallelism() / processes)) } = options;
    this.#perProcess = workers;
    this.workers = workers * processes;
    mkdirSync(options.directory, { recursive: true });
    this.#settings = { ...options, workers, ...(worker !== undefined && { worker: worker.href }) };
    this.#members = Array.from({ length: processes }, (_, at) => this.#start(at));
  }

  /** Of the processes, as far as they run. */
  get pids(): (number | undefined)[] {
    return this.#members.map(({ process }) => process.pid);
  }

  async deploy(spec: TemplateSpec): Promise<{ bootMicros: number; readyHead: unknown }> {
    const { name } = spec;
    for (const { templates } of this.#members) templates.delete(name); // an older one, if there is any
    const home = this.#member(this.#nextHome++ % this.#members.length);
    const { held, ...result } = await home.process.call('deploy', spec);
    if (held) {
      home.templates.set(name, 'there');
      this.#known.set(name, { spec, home: home.process });
    }
    return result;
  }

  async invoke(name: string, frame: InvokeFrame, options: InvokeOptions): Promise<InvokeResult> {
    for (let attempt = 1; ; attempt++) {
      const [member, place] = this.#placed(options.place);
      try {
        const coming = this.#having(member, name);
        if (coming !== undefined) await coming;
        return await member.process.invoke(name, frame, { ...options, place });
      } catch (error) {
        if (!(error instanceof NotBegun) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  async start(name: string, at: Place): Promise<void> {
    const [member, place] = this.#placed(at);
    await this.#having(member, name);
    await member.process.call('start', name, place);
  }

  async stop(name: string, at: Place): Promise<void> {
    const [member, place] = this.#placed(at);
    if (!member.templates.has(name)) return;
    await member.templates.get(name); // a clone may be about to be started
    await member.process.call('stop', name, place);
  }

  async unload(name: string): Promise<void> {
    await this.#eachWith(name, ({ process }) => process.call('unload', name));
  }

  async remove(name: string): Promise<void> {
    this.#known.delete(name);
    await this.#eachWith(name, ({ process, templates }) => {
      templates.delete(name);
      return process.call('remove', name);
    });
  }

  async prune(group: string, keep: readonly string[]): Promise<void> {
    await this.#member(0).process.call('prune', group, keep);
  }

  onWorkerLost(listener: (worker: number) => void): void {
    this.#workerLost = listener;
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#members.map(({ process }) => process.close()));
  }

  #start(at: number): Member {
    const first = at * this.#perProcess;
    const gone = () => {
      if (this.#closing) return;
      // One that does not come up is tried again by who needs it.
      if (member.process.ready) this.#members[at] = this.#start(at);
      for (let i = 0; i < this.#perProcess; i++) this.#workerLost(first + i);
    };
    const workerLost = (worker: number) => this.#workerLost(first + worker);
    const process = new PoolProcess(this.#settings, { gone, workerLost });
    const member: Member = { process, templates: new Map() };
    return member;
  }

  #member(at: number): Member {
    if (this.#members[at]?.process.gone) this.#members[at] = this.#start(at);
    return this.#members[at] as Member;
  }

  /** The process of a worker, and the place as that knows it. */
  #placed({ worker, clone }: Place): [Member, Place] {
    const member = this.#member(Math.floor(worker / this.#perProcess));
    return [member, { worker: worker % this.#perProcess, clone }];
  }

  /** undefined when the process has the template; else a promise of it. */
  #having(member: Member, name: string): Promise<void> | undefined {
    const has = member.templates.get(name);
    if (has !== undefined) return has === 'there' ? undefined : has;
    const coming = this.#bring(member, name).then(
      () => void member.templates.set(name, 'there'),
      (error: unknown) => {
        member.templates.delete(name);
        throw error;
      },
    );
    member.templates.set(name, coming);
    return coming;
  }

  async #bring({ process }: Member, name: string): Promise<void> {
    const known = this.#known.get(name);
    if (known === undefined) {
      throw new MayflyError('MAYFLY_TEMPLATE_UNKNOWN', `no template is named ${name}`);
    }
    const { spec, home } = known;
    if (spec.stored !== undefined && !home.gone) await home.call('settled', name).catch(() => {});
    await process.call('deploy', spec);
  }

  /** Processes that die on the way have it no more. */
  async #eachWith(name: string, act: (member: Member) => Promise<void>): Promise<void> {
    const having = this.#members.filter(({ templates }) => templates.has(name));
    await Promise.all(
      having.map(async (member) => {
        await Promise.resolve(member.templates.get(name)).catch(() => {});
        await act(member).catch(unlessGone);
      }),
    );
  }
}

function unlessGone(error: unknown): void {
  if (!isWorkerGone(error)) throw error;
}
