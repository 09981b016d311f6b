/**
 * Every error that the API answers with: one row each (docs/errors.md is made from them), and the one place where an error
 * becomes an HTTP answer. Codes of the function (FUNCTION_*) are 400 when they stop a deployment and 502 when they end an
 * invocation.
 */
import { MayflyError } from '@mayfly/protocol';
import type { ErrorBody } from '@mayfly/protocol/api';
import type { InvokeStats, InvokeTiming } from '@mayfly/vmm';

interface ErrorRow {
  status: number;
  /** What it means, for the documentation and as message where the thrower says nothing more. */
  message: string;
  /** What to do about it. */
  hint: string;
}

const row = (status: number, message: string, hint: string): ErrorRow =>
  Object.freeze({ status, message, hint });

export const ERRORS = Object.freeze({
  MAYFLY_REQUEST_INVALID: row(
    400,
    'the request is malformed',
    'compare the request with /openapi.json',
  ),
  MAYFLY_FUNCTION_NAME: row(
    400,
    'a function name is 1 to 63 of a-z, 0-9 and -, and starts with a letter or digit',
    'choose another name',
  ),
  MAYFLY_SOURCE_INVALID: row(
    400,
    'the source cannot be bundled',
    'correct the source at the place that the message names, then deploy again',
  ),
  MAYFLY_NETWORK_RULE: row(
    400,
    'a rule of the function’s network makes no sense',
    'write it like one of docs/networking.md: example.com:443, 10.0.0.0/8:80,443, host.mayfly:5432',
  ),
  MAYFLY_ARGUMENTS_TOO_LARGE: row(
    400,
    'arguments and variables do not fit into the guest',
    'shorten the command or the variables',
  ),
  MAYFLY_ARCHIVE_INVALID: row(
    400,
    'the archive is damaged, or holds what a function may not bring',
    'make it with `mayfly deploy` or `tar -c`: plain files and folders below its root, and a mayfly.json',
  ),
  MAYFLY_FUNCTION_UNKNOWN: row(
    404,
    'there is no function of this name',
    'see `mayfly ls` for what is deployed, or deploy it',
  ),
  MAYFLY_VERSION_UNKNOWN: row(
    404,
    'the function has no such version',
    'see GET /v1/functions/{name}/versions',
  ),
  MAYFLY_INVOCATION_UNKNOWN: row(
    404,
    'there is no record of such an invocation',
    'records are kept for a while only; check the id',
  ),
  MAYFLY_ROUTE_UNKNOWN: row(
    404,
    'there is no such route',
    'see /openapi.json for the routes that there are',
  ),
  MAYFLY_CONFLICT: row(409, 'the function changed meanwhile', 'look at its state and decide again'),
  MAYFLY_BODY_TOO_LARGE: row(
    413,
    'the body of the request is too large',
    'send less, or in several requests',
  ),
  MAYFLY_ARCHIVE_TOO_LARGE: row(
    413,
    'the archive unpacks to more than a function may bring',
    'leave out what the function does not need',
  ),
  MAYFLY_MEDIA_TYPE: row(
    415,
    'a body of this content type is not understood here',
    'send application/json, application/x-tar, or JavaScript as text/javascript',
  ),
  MAYFLY_OVERLOADED: row(
    429,
    'too many invocations are under way',
    'try again after the seconds that Retry-After says',
  ),
  MAYFLY_CLIENT_GONE: row(
    499,
    'the client closed the connection before the answer was there',
    'nothing, if that was meant; a longer time-out of the client otherwise',
  ),
  MAYFLY_INTERNAL: row(
    500,
    'Mayfly failed; the log of the server says why',
    'try again; if it stays, report it with the line of the log',
  ),
  MAYFLY_INVOCATION_LOST: row(
    500,
    'the server ended before the invocation did, again and again',
    'invoke again; if it stays, look in the log of the server for what ended it',
  ),
  MAYFLY_STORE_UNWRITABLE: row(
    507,
    'the change could not be written to disk, and is not made',
    'make room on the disk of the server’s data, then try again',
  ),
  MAYFLY_UPGRADE_REFUSED: row(
    501,
    'an invocation is one request and one answer: there are no WebSockets',
    'stream the answer instead, as server-sent events for example',
  ),
  FUNCTION_THREW: row(502, 'the function threw', 'see its logs for the stack'),
  FUNCTION_UNCAUGHT: row(
    502,
    'code that the function left behind threw',
    'see its logs for the stack; catch errors in callbacks of timers and events',
  ),
  FUNCTION_REJECTED: row(
    502,
    'a promise that the function does not wait for was rejected',
    'see its logs for the stack; await the promise, or give it a catch()',
  ),
  FUNCTION_SYNTAX: row(502, 'the function does not parse', 'correct the source and deploy again'),
  FUNCTION_NO_EXPORT: row(
    502,
    'the module exports neither default.fetch nor handler',
    'export one of the two',
  ),
  FUNCTION_NO_IMPORT: row(
    502,
    'the WebAssembly module imports what is not there',
    'compile it for WASI (wasm32-wasi, wasm32-wasip1), without a runtime of JavaScript',
  ),
  FUNCTION_WARMUP: row(
    502,
    'a request that warms the function up was answered with an error',
    'let `warmup` name requests that are answered with a status below 400, or leave it out',
  ),
  FUNCTION_BAD_RESULT: row(
    502,
    'the function returned something that cannot be sent',
    'return a Response, or a value that JSON can say',
  ),
  FUNCTION_EXITED: row(502, 'the function called process.exit()', 'return an answer instead'),
  FUNCTION_FAILED: row(
    502,
    'the program ended with an exit code other than 0',
    'see its logs for what it wrote to standard error',
  ),
  FUNCTION_STALLED: row(
    502,
    'the promise of the function can never settle',
    'look for an await of something that nothing resolves',
  ),
  MAYFLY_GUEST_ANSWER: row(
    502,
    'the guest answered with something that is no answer',
    'return status, headers and a body that HTTP can carry',
  ),
  MAYFLY_GUEST_EXITED: row(
    502,
    'the program in the guest ended without an answer',
    'see its logs; a crash is reported there',
  ),
  MAYFLY_GUEST_PANIC: row(502, 'the guest kernel stopped', 'report it, with the message'),
  MAYFLY_GUEST_OOM: row(502, 'the guest ran out of memory', 'deploy with more memoryBytes'),
  MAYFLY_FRAME_DAMAGED: row(
    502,
    'the guest sent bytes that are no frame',
    'let nothing but the agent write to the stream of the platform',
  ),
  MAYFLY_FRAME_UNEXPECTED: row(
    502,
    'the guest sent a frame where none of its kind may be',
    'send the head of an answer first, its chunks in order, and nothing behind the end',
  ),
  MAYFLY_FRAME_TOO_LARGE: row(
    502,
    'the guest sent a frame beyond the limits',
    'answer with less, or with a stream',
  ),
  MAYFLY_ANSWER_BROKEN: row(
    502,
    'the function failed after its answer had begun',
    'see its logs for what failed; the client has an answer that is not complete',
  ),
  MAYFLY_HTTP_DAMAGED: row(
    502,
    'the server in the guest answered with what is no HTTP, or not to the end',
    'look at its logs; answer with HTTP/1.1',
  ),
  MAYFLY_BOOT_FAILED: row(
    502,
    'the guest did not get ready',
    'see the message for what its program said',
  ),
  MAYFLY_TEMPLATE_TAMPERED: row(
    502,
    'the program changed what runs at CPL 0, while it loaded or before its checkpoint',
    'deploy a program that leaves the guest kernel alone',
  ),
  MAYFLY_RUNTIME_MISSING: row(
    501,
    'this host has no interpreter for the runtime of the function',
    'install it on the host of the server: the package python3 for python',
  ),
  MAYFLY_WORKER_GONE: row(
    503,
    'the worker that ran the invocation died; another one has taken its place',
    'try again, if the function may run twice; report it if it stays',
  ),
  MAYFLY_SERVER_CLOSING: row(
    503,
    'the server is shutting down',
    'try again after the seconds that Retry-After says',
  ),
  MAYFLY_BOOT_TIMEOUT: row(
    504,
    'the guest did not get ready in time',
    'do less while the function loads, or give `mayfly serve` a longer --boot-timeout',
  ),
  MAYFLY_GUEST_CPU: row(
    504,
    'the invocation used more processor time than the function may',
    'make it cheaper, or deploy with a larger cpuMs',
  ),
  MAYFLY_GUEST_TIMEOUT: row(
    504,
    'the invocation took longer than the function may',
    'make it quicker, or deploy with a longer timeoutMs',
  ),
});

export type ApiErrorCode = keyof typeof ERRORS;

/** What an error can tell beyond code and message. */
export type ErrorDetails = Omit<ErrorBody, 'code' | 'message' | 'hint'>;

export class ApiError extends MayflyError {
  readonly status: number;
  readonly details: ErrorDetails;
  /** What the invocation took, if a guest ran. */
  readonly timing: InvokeTook | undefined;
  /** When it makes sense to try again, if that is known. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ApiErrorCode,
    message: string = ERRORS[code].message,
    details: ErrorDetails & {
      status?: number;
      timing?: InvokeTook | undefined;
      retryAfterSeconds?: number;
      cause?: unknown;
    } = {},
  ) {
    const { status, timing, retryAfterSeconds, cause, ...rest } = details;
    super(code, message, cause === undefined ? undefined : { cause });
    this.status = status ?? ERRORS[code].status;
    this.timing = timing;
    this.retryAfterSeconds = retryAfterSeconds;
    this.details = rest;
  }

  /** The same, with what the invocation took, as far as that is known. */
  after(timing: InvokeTook | undefined): ApiError {
    if (timing === undefined) return this;
    const { status, retryAfterSeconds, cause, details } = this;
    const more = { status, timing, cause, ...(retryAfterSeconds && { retryAfterSeconds }) };
    return new ApiError(this.code as ApiErrorCode, this.message, { ...details, ...more });
  }
}

/** Until an invocation ended, or until its answer began. */
export type InvokeTook = InvokeTiming & Partial<InvokeStats>;

/** An error as an HTTP answer. `expected` is false for what only a defect of Mayfly explains. */
export interface ErrorAnswer {
  status: number;
  body: ErrorBody;
  expected: boolean;
}

/** Turns whatever was thrown into an answer; unknown errors tell the client nothing but that there was one. */
export function errorAnswer(thrown: unknown): ErrorAnswer {
  if (thrown instanceof ApiError) {
    const { code, message, details, status } = thrown;
    return { status, body: { code, message, hint: hintOf(code), ...details }, expected: true };
  }
  const code = synonyms[codeOf(thrown)] ?? codeOf(thrown);
  const message = thrown instanceof MayflyError ? thrown.message : ERRORS.MAYFLY_INTERNAL.message;
  if (isApiErrorCode(code)) {
    const { status, hint, message: general } = ERRORS[code];
    const said = thrown instanceof MayflyError ? message : general;
    return { status, body: { code, message: said, hint }, expected: true };
  }
  if (thrown instanceof MayflyError) {
    const status = GUEST_MADE.test(code) ? 502 : 500;
    return { status, body: { code, message, hint: hintOf(code) }, expected: status === 502 };
  }
  const { status, hint } = ERRORS.MAYFLY_INTERNAL;
  return { status, body: { code: 'MAYFLY_INTERNAL', message, hint }, expected: false };
}

/** The same answer without what only the owner of the function may read. */
export function withoutPrivateDetails({ code, message, hint }: ErrorBody): ErrorBody {
  return { code, message, hint };
}

function isApiErrorCode(code: string): code is ApiErrorCode {
  return Object.hasOwn(ERRORS, code);
}

/** Codes of the monitor that have no row: what a guest did to itself, or a defect of Mayfly. */
function hintOf(code: string): string {
  if (isApiErrorCode(code)) return ERRORS[code].hint;
  return GUEST_MADE.test(code) ? ERRORS.MAYFLY_GUEST_EXITED.hint : ERRORS.MAYFLY_INTERNAL.hint;
}

/** Other codes of the monitor that say what a guest did to itself. */
const GUEST_MADE = /^MAYFLY_(?:GUEST|VIRTIO|VSOCK|CONSOLE|UNEXPECTED_EXIT)/;

function codeOf(thrown: unknown): string {
  const code = (thrown as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : '';
}

/** What others call the same thing. */
const synonyms: Partial<Record<string, ApiErrorCode>> = {
  MAYFLY_ABORTED: 'MAYFLY_CLIENT_GONE',
  MAYFLY_POOL_CLOSED: 'MAYFLY_SERVER_CLOSING',
  FST_ERR_CTP_BODY_TOO_LARGE: 'MAYFLY_BODY_TOO_LARGE',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'MAYFLY_REQUEST_INVALID',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'MAYFLY_REQUEST_INVALID',
  FST_ERR_BAD_URL: 'MAYFLY_REQUEST_INVALID',
  FST_ERR_MAX_PARAM_LENGTH: 'MAYFLY_FUNCTION_NAME',
};
