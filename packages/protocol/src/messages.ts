/**
 * The heads of the frames between host and agent. Types only: both ends import this file, and each end checks what it
 * receives (the host because the guest is hostile, the agent not at all because the host made it).
 *
 *   agent                                  host
 *     │── ready (or error, then exit) ──────►│   once, while the template is made
 *     │◄───────────── request or event ──────│   once per clone
 *     │── response, result or error ────────►│
 */

/** How a function wants to be called: `export default { fetch }` or `export function handler`. */
export type FunctionExport = 'fetch' | 'handler';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** One line that the function wrote to its console. */
export interface LogLine {
  level: LogLevel;
  /** Milliseconds since 1970, the guest's clock. */
  time: number;
  text: string;
}

/** What every invocation brings along, whatever its shape. */
export interface InvocationHead {
  /** Names the invocation in logs. */
  id: string;
  /** When the host stops the guest, in milliseconds since 1970. */
  deadlineMs: number;
  /** Differs in every clone of a template (the VM generation id). */
  generation: string;
  /** At least 32 fresh random bytes, base64. */
  entropy: string;
  /** The host's clock, in milliseconds since 1970. */
  now: number;
}

/** An HTTP request for the function; the frame's body is the request's body. */
export interface RequestHead extends InvocationHead {
  type: 'request';
  method: string;
  /** Absolute; path and query as the function shall see them. */
  url: string;
  headers: [name: string, value: string][];
}

/** A plain event for the function; the frame's body is its JSON. */
export interface EventHead extends InvocationHead {
  type: 'event';
}

export type HostHead = RequestHead | EventHead;

/** The function is loaded; the next thing that the agent does is to wait for an invocation. */
export interface ReadyHead {
  type: 'ready';
  exports: FunctionExport;
  /** Version of the runtime, for example 'v20.20.2'. */
  node: string;
  pid: number;
  /** What the function wrote while it was loaded. */
  logs: LogLine[];
}

/** An HTTP answer; the frame's body is the answer's body. */
export interface ResponseHead {
  type: 'response';
  status: number;
  headers: [name: string, value: string][];
  logs: LogLine[];
}

/** The value that a handler returned for an event; the frame's body is its JSON, empty for undefined. */
export interface ResultHead {
  type: 'result';
  logs: LogLine[];
}

/** Why a function gave no answer. */
export type FunctionErrorCode =
  /** It threw, or its promise was rejected; while loading too. */
  | 'FUNCTION_THREW'
  /** It does not parse. */
  | 'FUNCTION_SYNTAX'
  /** It exports neither `default.fetch` nor `handler`. */
  | 'FUNCTION_NO_EXPORT'
  /** What it returned is neither a Response nor JSON. */
  | 'FUNCTION_BAD_RESULT'
  /** It called process.exit(). */
  | 'FUNCTION_EXITED'
  /** Its promise is pending and nothing is left that could settle it. */
  | 'FUNCTION_STALLED';

export interface ErrorHead {
  type: 'error';
  code: FunctionErrorCode;
  message: string;
  stack: string;
  logs: LogLine[];
}

export type AgentHead = ReadyHead | ResponseHead | ResultHead | ErrorHead;
