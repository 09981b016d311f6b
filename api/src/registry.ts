/**
 * The functions: which versions are deployed under which name, and which of them have a template.
 *
 *   deploy ──► ready ──► (server restarts) ──► stored ──first invocation──► deploying ──► ready
 *
 * A new version replaces the old one only when its template is there and it is on disk; invocations under way finish in
 * the old one. Changes of one name happen one after the other, in the order in which they were asked for.
 */
import { createHash } from 'node:crypto';
import type {
  Environment,
  EnvironmentInfo,
  EnvironmentPatch,
  FunctionInfo,
  FunctionSettings,
  VersionInfo,
} from '@mayfly/protocol/api';
import { checkRules } from '@mayfly/vmm/network';
import { ApiError } from './errors.js';
import { FunctionLog } from './function-log.js';
import type { FunctionLoad } from './scheduler/index.js';
import type {
  FunctionRecord,
  FunctionStore,
  Settings,
  SourceFiles,
  VersionRecord,
} from './store/functions.js';
import type { OnStep, Template, Templates } from './templates.js';
import { allOf, checkSize, patched } from './variables.js';

const MEMORY_BYTES_DEFAULT = 256 * 1024 * 1024;
const TIMEOUT_MS_DEFAULT = 10_000;
/** Templates that a function keeps besides that of its current version: the last one, for a rollback at once. */
const OTHER_TEMPLATES_MAX = 1;

/** What somebody deploys. */
export interface Deployment {
  settings: FunctionSettings;
  files: SourceFiles;
}

/** A version that was asked for since the server started. */
export interface Version {
  readonly record: VersionRecord;
  template: Template | undefined;
  deploying: boolean;
}

export interface DeployedFunction {
  record: FunctionRecord;
  /** Variables and secrets for each clone; undefined if there are none. */
  env: Record<string, string> | undefined;
  readonly log: FunctionLog;
  /** Aborted when the function is removed. */
  readonly removed: AbortController;
  current: Version;
  /** Current one included; the one whose template was asked for last at the end. */
  readonly versions: Map<number, Version>;
}

export class Registry {
  readonly #templates: Templates;
  readonly #store: FunctionStore;
  readonly #functions = new Map<string, DeployedFunction>();
  /** The last change under way for a name; the next one waits for it. */
  readonly #changes = new Map<string, Promise<unknown>>();

  /** Knows all functions of the store; makes no template yet. */
  constructor(templates: Templates, store: FunctionStore) {
    this.#templates = templates;
    this.#store = store;
    for (const record of store.functions()) {
      const current = store.version(record.name, record.current);
      if (current) this.#functions.set(record.name, newFunction(record, newVersion(current)));
    }
  }

  get size(): number {
    return this.#functions.size;
  }

  has(name: string): boolean {
    return this.#functions.has(name);
  }

  /** Sorted. */
  get names(): string[] {
    return [...this.#functions.keys()].sort();
  }

  /** Of all versions that have a template. */
  load(name: string): FunctionLoad | undefined {
    const { versions } = this.get(name);
    const templates = [...versions.values()].flatMap(({ template }) => template ?? []);
    return this.#templates.load(templates);
  }

  list(): FunctionInfo[] {
    return this.names.map((name) => this.info(name));
  }

  /** @throws ApiError MAYFLY_FUNCTION_UNKNOWN */
  info(name: string): FunctionInfo {
    return infoOf(this.get(name));
  }

  /** Newest first. @throws ApiError MAYFLY_FUNCTION_UNKNOWN */
  versions(name: string): VersionInfo[] {
    const { current } = this.get(name).record;
    const info = (record: VersionRecord) => ({ ...record, current: record.version === current });
    return this.#store.versions(name).map(info);
  }

  /** @throws ApiError MAYFLY_FUNCTION_UNKNOWN */
  get(name: string): DeployedFunction {
    const found = this.#functions.get(name);
    if (!found) throw new ApiError('MAYFLY_FUNCTION_UNKNOWN', `there is no function "${name}"`);
    return found;
  }

  /** @throws ApiError MAYFLY_VERSION_UNKNOWN */
  version(of: DeployedFunction, version: number | undefined): Version {
    if (version === undefined || version === of.record.current) return of.current;
    const { name } = of.record;
    const found = of.versions.get(version) ?? newVersion(this.#store.version(name, version));
    if (!found) throw new ApiError('MAYFLY_VERSION_UNKNOWN', `there is no ${name}@${version}`);
    of.versions.set(version, found);
    return found;
  }

  /**
   * Makes a template of the source and serves it under the name from then on. When it fails, what was there stays.
   *
   * @throws ApiError MAYFLY_SOURCE_INVALID, FUNCTION_* (with status 400); MayflyError MAYFLY_NETWORK_RULE, and of the pool
   */
  deploy(
    name: string,
    { settings, files }: Deployment,
    onStep: OnStep = () => {},
  ): Promise<FunctionInfo> {
    return this.#change(name, async () => {
      const before = this.#functions.get(name);
      const number = (before?.record.deployed ?? 0) + 1;
      const version = newVersion(versionRecord(number, settings, files));
      const log = before?.log ?? new FunctionLog();
      const record = { ...newRecord(name), ...before?.record, current: number, deployed: number };
      const template = await this.#templates.make(record, version.record, files, log, onStep);
      onStep('store');
      await this.#store.addVersion(record, version.record, files).catch((error: unknown) => {
        this.#templates.retire(template);
        throw error;
      });
      version.template = template;
      const deployed = before ?? newFunction(record, version, log);
      this.#functions.set(name, deployed);
      return this.#serve(deployed, record, version);
    });
  }

  /**
   * Serves another version under the name: at once if its template is still there.
   *
   * @param number the newest one before the current one, if left out
   * @throws ApiError MAYFLY_FUNCTION_UNKNOWN, MAYFLY_VERSION_UNKNOWN; what deploy() throws
   */
  rollback(name: string, number?: number): Promise<FunctionInfo> {
    return this.#change(name, async () => {
      const deployed = this.get(name);
      const version = this.version(deployed, number ?? this.#versionBefore(deployed));
      await this.#makeTemplate(deployed, version);
      const record = { ...deployed.record, current: version.record.version };
      await this.#store.update(record);
      return this.#serve(deployed, record, version);
    });
  }

  /** @throws ApiError MAYFLY_FUNCTION_UNKNOWN */
  remove(name: string): Promise<void> {
    return this.#change(name, async () => {
      const { versions, removed } = this.get(name);
      await this.#store.remove(name);
      this.#functions.delete(name);
      removed.abort();
      for (const version of versions.values()) this.#retire(version);
      this.#templates.keepStored(name, []);
    });
  }

  /** @throws ApiError MAYFLY_FUNCTION_UNKNOWN */
  environment(name: string): EnvironmentInfo {
    const { variables, secrets } = this.get(name).record;
    return { variables, secrets: Object.keys(secrets) };
  }

  /**
   * What is left out becomes empty. A program that gets variables only when it boots is booted with them, and goes on to
   * serve with the old ones until the new template is ready, or if it fails.
   *
   * @throws ApiError MAYFLY_FUNCTION_UNKNOWN, MAYFLY_REQUEST_INVALID if they are too long; what deploy() throws
   */
  setEnvironment(name: string, { variables = {}, secrets = {} }: Environment): Promise<void> {
    return this.#changeEnvironment(name, () => ({ variables, secrets }));
  }

  /** As setEnvironment(). */
  patchEnvironment(name: string, { variables, secrets }: EnvironmentPatch): Promise<void> {
    return this.#changeEnvironment(name, (before) => ({
      variables: patched(before.variables, variables),
      secrets: patched(before.secrets, secrets),
    }));
  }

  /**
   * The template of a version; makes it, once, however many invocations wait for it, when there is none.
   *
   * @throws what deploy() throws
   */
  template(deployed: DeployedFunction, version: Version): Template | Promise<Template> {
    if (version.template) return version.template;
    return this.#change(deployed.record.name, () => this.#makeTemplate(deployed, version));
  }

  /** Only within a change of the name. */
  async #makeTemplate(deployed: DeployedFunction, version: Version): Promise<Template> {
    const { name } = deployed.record;
    if (version.template) return version.template;
    // While this waited it was removed: another one of its name has versions of the same numbers, and other files.
    if (this.#functions.get(name) !== deployed) throw removedMeanwhile(name);
    version.deploying = true;
    try {
      version.template = await this.#newTemplate(deployed, version, deployed.record);
    } finally {
      version.deploying = false;
    }
    this.#keepSome(deployed, version);
    return version.template;
  }

  #newTemplate(
    { log }: DeployedFunction,
    { record }: Version,
    owner: FunctionRecord,
  ): Promise<Template> {
    const files = this.#store.files(owner.name, record.version);
    return this.#templates.make(owner, record, files, log);
  }

  #serve(deployed: DeployedFunction, record: FunctionRecord, version: Version): FunctionInfo {
    const before = deployed.current;
    deployed.record = record;
    deployed.current = version;
    this.#keepSome(deployed, before);
    this.#keepSome(deployed, version);
    this.#templates.keepStored(record.name, deployed.versions.keys());
    return infoOf(deployed);
  }

  /** Puts `newest` last in line, then retires the first ones. */
  #keepSome({ versions, current }: DeployedFunction, newest: Version): void {
    versions.delete(newest.record.version);
    versions.set(newest.record.version, newest);
    const others = [...versions.values()].filter((version) => version !== current);
    for (const version of others.slice(0, -OTHER_TEMPLATES_MAX)) {
      versions.delete(version.record.version);
      this.#retire(version);
    }
  }

  /** Whoever waits for the version still makes it another template. */
  #retire(version: Version): void {
    if (version.template) this.#templates.retire(version.template);
    version.template = undefined;
  }

  #versionBefore({ record: { name, current } }: DeployedFunction): number {
    const before = this.#store.versions(name).find(({ version }) => version < current);
    if (before) return before.version;
    throw new ApiError('MAYFLY_VERSION_UNKNOWN', `there is no version before ${name}@${current}`);
  }

  #changeEnvironment(
    name: string,
    change: (before: FunctionRecord) => Pick<FunctionRecord, 'variables' | 'secrets'>,
  ): Promise<void> {
    return this.#change(name, async () => {
      const deployed = this.get(name);
      const record = { ...deployed.record, ...change(deployed.record) };
      checkSize(allOf(record));
      const { current, versions } = deployed;
      const renewed = current.template?.bootsWithVariables
        ? await this.#newTemplate(deployed, current, record)
        : undefined;
      await this.#store.update(record).catch((error: unknown) => {
        if (renewed) this.#templates.retire(renewed);
        throw error;
      });
      deployed.record = record;
      deployed.env = allOf(record);
      for (const version of versions.values()) {
        if (version.template?.bootsWithVariables) this.#retire(version);
      }
      if (renewed) current.template = renewed;
    });
  }

  /** Changes of one name happen one after the other. */
  #change<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#changes.get(name) ?? Promise.resolve();
    const change = before.then(work, work);
    this.#changes.set(name, change);
    const forget = () => {
      if (this.#changes.get(name) === change) this.#changes.delete(name);
    };
    change.then(forget, forget);
    return change;
  }
}

/** For who waited for a function that is gone, whether or not another one has its name now. */
export function removedMeanwhile(name: string): ApiError {
  return new ApiError('MAYFLY_FUNCTION_UNKNOWN', `the function "${name}" was removed meanwhile`);
}

function newRecord(name: string): FunctionRecord {
  return { name, current: 0, deployed: 0, variables: {}, secrets: {} };
}

function newFunction(
  record: FunctionRecord,
  current: Version,
  log = new FunctionLog(),
): DeployedFunction {
  const versions = new Map([[current.record.version, current]]);
  return { record, env: allOf(record), log, removed: new AbortController(), current, versions };
}

function newVersion(record: VersionRecord): Version;
function newVersion(record: VersionRecord | undefined): Version | undefined;
function newVersion(record: VersionRecord | undefined): Version | undefined {
  return record && { record, template: undefined, deploying: false };
}

function versionRecord(
  version: number,
  manifest: FunctionSettings,
  files: SourceFiles,
): VersionRecord {
  checkRules(manifest.network?.allow ?? []);
  checkSize(manifest.env);
  const settings: Settings = {
    ...manifest,
    runtime: manifest.runtime ?? 'node',
    memoryBytes: manifest.memoryBytes ?? MEMORY_BYTES_DEFAULT,
    timeoutMs: manifest.timeoutMs ?? TIMEOUT_MS_DEFAULT,
    env: manifest.env ?? {},
  };
  const deployedAt = new Date().toISOString();
  return { ...settings, version, sourceDigest: digestOf(files), deployedAt };
}

function digestOf(files: SourceFiles): string {
  const hash = createHash('sha256');
  for (const path of [...files.keys()].sort()) {
    const { bytes, executable } = files.get(path)!;
    hash.update(`${path}\0${executable ? 'x' : '-'}${bytes.length}\0`).update(bytes);
  }
  return hash.digest('hex');
}

function infoOf({ record, current }: DeployedFunction): FunctionInfo {
  const { template, deploying } = current;
  const info = { name: record.name, ...current.record };
  if (!template) return { ...info, state: deploying ? 'deploying' : 'stored' };
  const { exports, bootMicros } = template;
  return { ...info, state: 'ready', exports, bootMicros };
}
