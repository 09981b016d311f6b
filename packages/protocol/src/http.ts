/**
 * The bodies of Mayfly's HTTP API, as the server writes them and the client reads them. Types only.
 *
 *   GET    /healthz                              Health
 *   GET    /v1/functions                         FunctionList
 *   GET    /v1/functions/{name}                  FunctionInfo
 *   PUT    /v1/functions/{name}                  FunctionSource (or the bare source as text/javascript) → FunctionInfo
 *   DELETE /v1/functions/{name}                  204
 *   GET    /v1/functions/{name}/logs             FunctionLogs
 *   POST   /v1/functions/{name}/invocations      any JSON → InvocationReport
 *   ANY    /fn/{name}/...                        whatever the function answers
 *
 * Every answer that is not the function's own and not a success is an ErrorBody.
 */
import type { FunctionExport, LogLine } from './messages.js';

export interface Health {
  status: 'ok';
  functions: number;
  /** Invocations admitted and not answered yet. */
  inFlight: number;
}

/** Body of a deployment. Fields that are left out get their defaults. */
export interface FunctionSource {
  /** One ES module: JavaScript text. */
  source: string;
  /** Guest memory in bytes. */
  memoryBytes?: number;
  /** Longest an invocation may take, queueing included, in milliseconds. */
  timeoutMs?: number;
  /** Environment variables. They are part of the template: no place for secrets. */
  env?: Record<string, string>;
}

export interface FunctionInfo {
  name: string;
  /** Counts the deployments under this name, from 1. */
  version: number;
  /** SHA-256 of the source, hex. */
  sourceDigest: string;
  memoryBytes: number;
  timeoutMs: number;
  env: Record<string, string>;
  /** ISO 8601. */
  deployedAt: string;
  /** 'stored': known, template made on the first invocation (after a restart of the server). */
  state: 'stored' | 'deploying' | 'ready';
  /** Known once the template was made by this server. */
  exports?: FunctionExport;
  bootMicros?: number;
}

export interface FunctionList {
  functions: FunctionInfo[];
}

/** The newest console lines of all invocations, oldest first. */
export interface FunctionLogs {
  logs: LogLine[];
}

/** All durations in milliseconds, with microsecond precision. */
export interface InvocationTiming {
  queueMs: number;
  guestMs: number;
  totalMs: number;
}

/** One invocation with an event, with everything that is known about it. */
export interface InvocationReport {
  id: string;
  /** What a handler returned; absent if it returned undefined or if the function is a fetch function. */
  result?: unknown;
  /** What a fetch function answered. */
  response?: {
    status: number;
    headers: [name: string, value: string][];
    body: string;
    bodyEncoding: 'utf8' | 'base64';
  };
  logs: LogLine[];
  timing: InvocationTiming;
  /** Pages that the invocation wrote and that had to be put back. */
  rewoundPages: number;
}

export interface ErrorBody {
  error: {
    code: string;
    message: string;
    /** Where in the source, for errors of the source. Lines and columns count from 1. */
    location?: { line: number; column: number; lineText: string };
    /** Only where the owner of the function asks, never on /fn. */
    stack?: string;
    logs?: LogLine[];
  };
}
