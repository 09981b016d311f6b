/** A typed client of Mayfly's HTTP API. */
import { Readable } from 'node:stream';
import { MayflyError } from '@mayfly/protocol';
import type {
  DeploymentLine,
  DeploymentStep,
  Environment,
  EnvironmentInfo,
  EnvironmentPatch,
  ErrorBody,
  FunctionInfo,
  FunctionList,
  FunctionLogs,
  FunctionSource,
  FunctionStats,
  Health,
  InvocationList,
  InvocationRecord,
  LogEntry,
  LogQuery,
  Readiness,
  Stats,
  VersionInfo,
  VersionList,
} from '@mayfly/protocol/api';
import { type Dispatcher, Pool } from 'undici';

/** The server said no. `code` is one of the API's, `status` the HTTP status. */
export class ApiFailure extends MayflyError {
  readonly status: number;
  /** What to do about it. */
  readonly hint: string;
  /** What the answer says beyond code, message and hint: location, stack, logs. */
  readonly details: Omit<ErrorBody, 'code' | 'message' | 'hint'>;

  constructor(status: number, { code, message, hint, ...details }: ErrorBody) {
    super(code, message);
    this.status = status;
    this.hint = hint;
    this.details = details;
  }
}

export interface FunctionRequest {
  method?: Dispatcher.HttpMethod;
  /** Path and query as the function shall see them, from the slash on. */
  path?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  signal?: AbortSignal;
}

export interface FunctionResponse {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Uint8Array;
}

/**
 * Every method rejects with ApiFailure when the server refuses, and with MayflyError MAYFLY_CONNECT when there is no
 * answer.
 */
export class MayflyClient {
  readonly url: string;
  /** Of all paths: what lies between may have the server below one. */
  readonly #prefix: string;
  readonly #pool: Pool;

  /**
   * @param url of the server, for example http://127.0.0.1:7070 or https://example.com/mayfly; throws MAYFLY_URL for
   *   what is none
   */
  constructor(url: string) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (!parsed || !/^https?:$/.test(parsed.protocol)) {
      const message = `"${url}" is no URL of a server, which is like http://127.0.0.1:7070`;
      throw new MayflyError('MAYFLY_URL', message);
    }
    this.#prefix = parsed.pathname.replace(/\/+$/, '');
    this.url = parsed.origin + this.#prefix;
    // A function may take minutes; its own time limit ends it, not this client's.
    this.#pool = new Pool(parsed.origin, { headersTimeout: 0, bodyTimeout: 0 });
  }

  health(): Promise<Health> {
    return this.#json('GET', '/healthz', 'status');
  }

  /** Whether requests are welcome; a server that drains says so. */
  async readiness(): Promise<Readiness> {
    const answer = await this.#send({ method: 'GET', path: '/readyz' });
    const answered = await this.#whole(answer.body.text());
    const isDraining = answer.statusCode === 503 && answered.startsWith('{"status":');
    if (isRefusal(answer) && !isDraining) throw failureOf(answer, answered);
    return this.#parsed<Readiness>(answered, 'status');
  }

  async list(): Promise<FunctionInfo[]> {
    const { functions } = await this.#json<FunctionList>('GET', '/v1/functions', 'functions');
    return functions;
  }

  get(name: string): Promise<FunctionInfo> {
    return this.#json('GET', functionPath(name), 'name');
  }

  /**
   * Resolves when the function serves: its template is made and stored. `onStep` is told of each step that begins. The
   * signal ends the waiting, not the deployment. An archive that is a stream is sent as it is read.
   */
  async deploy(
    name: string,
    source: FunctionSource | Uint8Array | Readable,
    onStep: (step: DeploymentStep) => void = () => {},
    signal?: AbortSignal,
  ): Promise<FunctionInfo> {
    const isArchive = source instanceof Uint8Array || source instanceof Readable;
    const type = isArchive ? 'application/x-tar' : 'application/json';
    const headers = { 'content-type': type, accept: 'application/x-ndjson' };
    const body = isArchive ? source : JSON.stringify(source);
    for await (const line of this.#lines<DeploymentLine>({
      method: 'PUT',
      path: functionPath(name),
      headers,
      body,
      ...(signal && { signal }),
    })) {
      if ('function' in line) return line.function;
      if ('error' in line) throw new ApiFailure(line.status, line.error);
      onStep(line);
    }
    throw new MayflyError('MAYFLY_CONNECT', `${this.url} ended before the deployment did`);
  }

  async remove(name: string): Promise<void> {
    const answer = await this.#send({ method: 'DELETE', path: functionPath(name) });
    const answered = await this.#whole(answer.body.text());
    if (isRefusal(answer)) throw failureOf(answer, answered);
    if (answer.statusCode !== 204) throw this.#stranger();
  }

  /** Newest first. */
  async versions(name: string): Promise<VersionInfo[]> {
    const { versions } = await this.#json<VersionList>(
      'GET',
      `${functionPath(name)}/versions`,
      'versions',
    );
    return versions;
  }

  /** Serves another version: the one before the current one, if left out. */
  rollback(name: string, version?: number): Promise<FunctionInfo> {
    return this.#json(
      'POST',
      `${functionPath(name)}/rollback`,
      'version',
      version ? { version } : {},
    );
  }

  environment(name: string): Promise<EnvironmentInfo> {
    return this.#json('GET', `${functionPath(name)}/env`, 'variables');
  }

  /** What is not named goes. */
  replaceEnvironment(name: string, environment: Environment): Promise<EnvironmentInfo> {
    return this.#json('PUT', `${functionPath(name)}/env`, 'variables', environment);
  }

  /** null removes a variable; what is not named stays. */
  changeEnvironment(name: string, changes: EnvironmentPatch): Promise<EnvironmentInfo> {
    return this.#json('PATCH', `${functionPath(name)}/env`, 'variables', changes);
  }

  /** The newest console lines, oldest first. */
  async logs(name: string, query: Omit<LogQuery, 'follow'> = {}): Promise<LogEntry[]> {
    const path = `${functionPath(name)}/logs${queryText(query)}`;
    const { logs } = await this.#json<FunctionLogs>('GET', path, 'logs');
    return logs;
  }

  /** The same, and then each line as it comes, until the signal is aborted or the function is removed. */
  async *followLogs(
    name: string,
    query: Omit<LogQuery, 'follow'> = {},
    signal?: AbortSignal,
  ): AsyncGenerator<LogEntry> {
    const path = `${functionPath(name)}/logs${queryText({ ...query, follow: true })}`;
    yield* this.#lines<LogEntry>({ method: 'GET', path, ...(signal && { signal }) });
  }

  /** One invocation with a JSON event. */
  invoke(
    name: string,
    event: unknown = null,
    { version }: { version?: number | undefined } = {},
  ): Promise<InvocationRecord> {
    const query = queryText({ version });
    return this.#json('POST', `${functionPath(name)}/invocations${query}`, 'id', event);
  }

  /** The same, later; resolves when the server will not forget it. invocation() tells what came of it. */
  invokeLater(
    name: string,
    event: unknown = null,
    { version }: { version?: number | undefined } = {},
  ): Promise<InvocationRecord> {
    const query = queryText({ version, async: true });
    return this.#json('POST', `${functionPath(name)}/invocations${query}`, 'id', event);
  }

  invocation(id: string): Promise<InvocationRecord> {
    return this.#json('GET', `/v1/invocations/${encodeURIComponent(id)}`, 'id');
  }

  /** Newest first. */
  async invocations(name: string, limit?: number): Promise<InvocationList['invocations']> {
    const path = `${functionPath(name)}/invocations${queryText({ limit })}`;
    const { invocations } = await this.#json<InvocationList>('GET', path, 'invocations');
    return invocations;
  }

  stats(): Promise<Stats> {
    return this.#json('GET', '/v1/stats', 'functions');
  }

  functionStats(name: string): Promise<FunctionStats> {
    return this.#json('GET', `${functionPath(name)}/stats`, 'invocations');
  }

  /** One HTTP request to a function; an answer of any status is an answer, not a failure. */
  async request(name: string, request: FunctionRequest = {}): Promise<FunctionResponse> {
    const { method = 'GET', path = '/', headers, body, signal } = request;
    const target = `/fn/${encodeURIComponent(name)}${path.startsWith('/') ? '' : '/'}${path}`;
    const answer = await this.#send({
      method,
      path: target,
      ...(headers && { headers }),
      ...(body !== undefined && { body }),
      ...(signal && { signal }),
    });
    return {
      status: answer.statusCode,
      headers: answer.headers,
      body: new Uint8Array(await this.#whole(answer.body.arrayBuffer(), signal)),
    };
  }

  /** Ends every connection, those that are in use as well. */
  close(): Promise<void> {
    return this.#pool.destroy();
  }

  /** @param field that the answer of a Mayfly server has */
  async #json<T>(
    method: Dispatcher.HttpMethod,
    path: string,
    field: keyof T & string,
    body?: unknown,
  ): Promise<T> {
    const json =
      body === undefined
        ? undefined
        : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const answer = await this.#send({ method, path, ...json });
    const answered = await this.#whole(answer.body.text());
    if (isRefusal(answer)) throw failureOf(answer, answered);
    return this.#parsed(answered, field);
  }

  #parsed<T>(text: string, field: keyof T & string): T {
    const value = parsedObject(text);
    if (value === undefined || !Object.hasOwn(value, field)) throw this.#stranger();
    return value as T;
  }

  /** Something else than Mayfly listens there, or a proxy answers for it. */
  #stranger(): MayflyError {
    const message = `what answers at ${this.url} is no Mayfly server`;
    return new MayflyError('MAYFLY_NOT_MAYFLY', message);
  }

  async *#lines<T>(
    outgoing: Dispatcher.RequestOptions & { signal?: AbortSignal },
  ): AsyncGenerator<T> {
    const answer = await this.#send(outgoing);
    if (isRefusal(answer)) throw failureOf(answer, await this.#whole(answer.body.text()));
    if (!/^application\/x-ndjson\b/.test(String(answer.headers['content-type']))) {
      answer.body.on('error', () => {}).destroy();
      throw this.#stranger();
    }
    // Whoever has what it wants goes before the answer ends, which undici reports as an error: nobody listens by then.
    answer.body.on('error', () => {});
    try {
      let rest = '';
      for await (const chunk of answer.body.setEncoding('utf8')) {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line !== '') yield JSON.parse(line) as T;
      }
      if (rest !== '') yield JSON.parse(rest) as T;
    } catch (cause) {
      throw this.#silence(cause, outgoing.signal);
    }
  }

  #send(
    options: Dispatcher.RequestOptions & { signal?: AbortSignal },
  ): Promise<Dispatcher.ResponseData> {
    const path = this.#prefix + options.path;
    return this.#whole(this.#pool.request({ ...options, path }), options.signal);
  }

  async #whole<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await work;
    } catch (cause) {
      throw this.#silence(cause, signal);
    }
  }

  #silence(cause: unknown, signal?: AbortSignal): unknown {
    if (signal?.aborted) return signal.reason;
    if (cause instanceof MayflyError) return cause; // of a body that could not be read, for example
    const why = cause instanceof Error ? cause.message : String(cause);
    return new MayflyError('MAYFLY_CONNECT', `no answer from ${this.url}: ${why}`, { cause });
  }
}

/** Redirections as well: a Mayfly server has none. */
const isRefusal = ({ statusCode }: Dispatcher.ResponseData) => statusCode >= 300;

function parsedObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function queryText(fields: Record<string, string | number | boolean | undefined>): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) query.set(key, String(value));
  }
  return query.size === 0 ? '' : `?${query}`;
}

function functionPath(name: string): string {
  return `/v1/functions/${encodeURIComponent(name)}`;
}

function failureOf({ statusCode: status }: Dispatcher.ResponseData, text: string): ApiFailure {
  const body = parsedObject(text) as Partial<ErrorBody> | undefined;
  if (typeof body?.code === 'string') {
    const { code, message = text, hint = '' } = body;
    return new ApiFailure(status, { ...body, code, message, hint });
  }
  const message = `the server answered ${status} with something that is not Mayfly's`;
  const hint = 'check the URL and what lies between';
  return new ApiFailure(status, { code: 'MAYFLY_NOT_MAYFLY', message, hint });
}
