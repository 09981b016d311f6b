/**
 * The heads of the frames between host and agent. Types only: both ends import this file, and each end checks what it
 * receives (the host because the guest is hostile, the agent not at all because the host made it).
 *
 *   agent                                             host
 *     │── ready (or error, then exit) ─────────────────►│   once, while the template is made
 *     │◄──────────────────── request or event [more] ───│   once per clone
 *     │◄──────────────────── chunk ... chunk [end] ─────│   only after `more`
 *     │── log ─────────────────────────────────────────►│   whenever there is something to tell, before the last frame
 *     │── response [more] [pending], result or error ──►│
 *     │── chunk ... chunk [end] [pending] ─────────────►│   only after `more`; an error breaks the body off
 *     │── done or error ───────────────────────────────►│   only after `pending`
 *
 * A body that is at hand travels in the frame of its head; `more` says that chunks follow it, and the body is all of
 * them in order. Both directions stream at the same time: an agent need not read a body before it answers, nor ever. The
 * host sends chunks only as fast as the agent reads them, and the agent is held up in write() while the host cannot pass
 * its chunks on: vsock's credit does both. What an agent writes behind its last frame is not looked at.
 */

/**
 * How a function wants to be called: `export default { fetch }`, a handler of events, an application of Python's WSGI or ASGI, a
 * filter of standard input, an HTTP server, a program that speaks frames with mayfly.h.
 */
export type FunctionExport = 'fetch' | 'handler' | 'wsgi' | 'asgi' | 'stdin' | 'http' | 'frames';

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
  /** Environment variables that were no part of the template: secrets, for example. They add to, and replace, its own. */
  env?: Record<string, string>;
  /** The body goes on in chunks. */
  more?: true;
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

/** A piece of a body, in either direction; the frame's body is the piece. Any size will do, that of none included. */
export interface ChunkHead {
  type: 'chunk';
  /** The body ends with this piece. */
  end?: true;
  /** As in ResponseHead; only of an agent, only with `end`. */
  pending?: true;
}

export type HostHead = RequestHead | EventHead;

/** A request or an event that is no invocation yet. */
export type CallHead =
  | Pick<RequestHead, 'type' | 'method' | 'url' | 'headers'>
  | Pick<EventHead, 'type'>;

/** The function is loaded; the next thing that the agent does is to wait for an invocation. */
export interface ReadyHead {
  type: 'ready';
  exports: FunctionExport;
  /** Of the runtime, for example 'v20.20.2' or 'Python 3.11.7'. */
  version: string;
  pid: number;
  /** What the function wrote while it was loaded. */
  logs: LogLine[];
}

/** What the head of an answer says about what follows it. */
export interface AnswerHead {
  /** What the function wrote and no log frame has told. */
  logs: LogLine[];
  /** The body goes on in chunks. */
  more?: true;
  /** The answer is complete but the invocation is not (ctx.waitUntil): it ends with a done or error frame. */
  pending?: true;
}

/** An HTTP answer; the frame's body is the answer's body. */
export interface ResponseHead extends AnswerHead {
  type: 'response';
  status: number;
  headers: [name: string, value: string][];
}

/** The value that a handler returned for an event; the frame's body is its JSON, empty for undefined. */
export interface ResultHead extends AnswerHead {
  type: 'result';
}

/** Lines that cannot wait for the answer: an invocation that takes long, or one that writes much. No body. */
export interface LogHead {
  type: 'log';
  logs: LogLine[];
}

/** After `pending`: now the invocation is over. No body. */
export interface DoneHead {
  type: 'done';
}

/** Why a function gave no answer. */
export type FunctionErrorCode =
  /** It threw, or the promise that it returned was rejected; while loading too. */
  | 'FUNCTION_THREW'
  /** Code that it left behind threw: a callback of a timer, for example. */
  | 'FUNCTION_UNCAUGHT'
  /** A promise that nobody waits for was rejected. */
  | 'FUNCTION_REJECTED'
  /** It does not parse. */
  | 'FUNCTION_SYNTAX'
  /** It exports neither `default.fetch` nor `handler`. */
  | 'FUNCTION_NO_EXPORT'
  /** A WebAssembly module imports what is not there. */
  | 'FUNCTION_NO_IMPORT'
  /** It answered the request that is to warm it up with a status that says that it failed. */
  | 'FUNCTION_WARMUP'
  /** What it returned is neither a Response nor JSON. */
  | 'FUNCTION_BAD_RESULT'
  /** It called process.exit(). */
  | 'FUNCTION_EXITED'
  /** A program ended with an exit code other than 0. */
  | 'FUNCTION_FAILED'
  /** Its promise is pending and nothing is left that could settle it. */
  | 'FUNCTION_STALLED';

export interface ErrorHead {
  type: 'error';
  code: FunctionErrorCode;
  message: string;
  stack: string;
  /** Where in the source it is, if it does not parse; line and column from 1. */
  location?: { line: number; column: number; lineText: string };
  /** What the function wrote and no log frame has told. */
  logs: LogLine[];
}

export type AgentHead =
  | ReadyHead
  | ResponseHead
  | ResultHead
  | ChunkHead
  | LogHead
  | DoneHead
  | ErrorHead;
