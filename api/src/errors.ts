/**
 * Every error that the API answers with: one row each, and the one place where an error becomes an HTTP answer.
 * Codes of the function (FUNCTION_*) are 400 when they stop a deployment and 502 when they end an invocation.
 */
import { type ErrorBody, MayflyError } from '@mayfly/protocol';

interface ErrorRow {
  status: number;
  /** What it means, for the documentation and as message where the thrower says nothing more. */
  message: string;
}

const row = (status: number, message: string): ErrorRow => Object.freeze({ status, message });

export const ERRORS = Object.freeze({
  MAYFLY_REQUEST_INVALID: row(400, 'the request is malformed'),
  MAYFLY_FUNCTION_NAME: row(
    400,
    'a function name is 1 to 63 of a-z, 0-9 and -, and starts with a letter or digit',
  ),
  MAYFLY_SOURCE_INVALID: row(400, 'the source is not a JavaScript module that can be bundled'),
  MAYFLY_FUNCTION_UNKNOWN: row(404, 'there is no function of this name'),
  MAYFLY_ROUTE_UNKNOWN: row(404, 'there is no such route'),
  MAYFLY_BODY_TOO_LARGE: row(413, 'the body of the request is too large'),
  MAYFLY_CLIENT_GONE: row(499, 'the client closed the connection before the answer was there'),
  MAYFLY_INTERNAL: row(500, 'Mayfly failed; the log of the server says why'),
  FUNCTION_THREW: row(502, 'the function threw'),
  FUNCTION_SYNTAX: row(502, 'the function does not parse'),
  FUNCTION_NO_EXPORT: row(502, 'the module exports neither default.fetch nor handler'),
  FUNCTION_BAD_RESULT: row(502, 'the function returned something that cannot be sent'),
  FUNCTION_EXITED: row(502, 'the function called process.exit()'),
  FUNCTION_STALLED: row(502, 'the promise of the function can never settle'),
  MAYFLY_GUEST_ANSWER: row(502, 'the guest answered with something that is no answer'),
  MAYFLY_GUEST_EXITED: row(502, 'the program in the guest ended without an answer'),
  MAYFLY_GUEST_PANIC: row(502, 'the guest kernel stopped'),
  MAYFLY_GUEST_OOM: row(502, 'the guest ran out of memory'),
  MAYFLY_FRAME_DAMAGED: row(502, 'the guest sent bytes that are no frame'),
  MAYFLY_FRAME_TOO_LARGE: row(502, 'the guest sent a frame beyond the limits'),
  MAYFLY_BOOT_FAILED: row(502, 'the guest did not get ready'),
  MAYFLY_TEMPLATE_TAMPERED: row(502, 'the program changed what runs at CPL 0 while it loaded'),
  MAYFLY_OVERLOADED: row(503, 'too many invocations are under way; try again in a moment'),
  MAYFLY_SERVER_CLOSING: row(503, 'the server is shutting down'),
  MAYFLY_BOOT_TIMEOUT: row(504, 'the guest did not get ready in time'),
  MAYFLY_GUEST_TIMEOUT: row(504, 'the invocation took longer than the function may'),
});

export type ApiErrorCode = keyof typeof ERRORS;

/** What an error can tell beyond code and message. */
export type ErrorDetails = Omit<ErrorBody['error'], 'code' | 'message'>;

export interface GuestTiming {
  queueMicros: number;
  guestMicros: number;
}

export class ApiError extends MayflyError {
  readonly status: number;
  readonly details: ErrorDetails;
  /** What the invocation took, if a guest ran. */
  readonly timing: GuestTiming | undefined;

  constructor(
    code: ApiErrorCode,
    message: string = ERRORS[code].message,
    details: ErrorDetails & { status?: number; timing?: GuestTiming; cause?: unknown } = {},
  ) {
    const { status, timing, cause, ...rest } = details;
    super(code, message, cause === undefined ? undefined : { cause });
    this.status = status ?? ERRORS[code].status;
    this.timing = timing;
    this.details = rest;
  }
}

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
    return { status, body: { error: { code, message, ...details } }, expected: true };
  }
  const code = synonyms[codeOf(thrown)] ?? codeOf(thrown);
  const known = ERRORS[code as ApiErrorCode];
  if (known && Object.hasOwn(ERRORS, code)) {
    const message = thrown instanceof MayflyError ? thrown.message : known.message;
    return { status: known.status, body: { error: { code, message } }, expected: true };
  }
  if (thrown instanceof MayflyError && GUEST_MADE.test(code)) {
    return { status: 502, body: { error: { code, message: thrown.message } }, expected: true };
  }
  if (thrown instanceof MayflyError) {
    return { status: 500, body: { error: { code, message: thrown.message } }, expected: false };
  }
  const { status, message } = ERRORS.MAYFLY_INTERNAL;
  return { status, body: { error: { code: 'MAYFLY_INTERNAL', message } }, expected: false };
}

/** The same answer without what only the owner of the function may read. */
export function withoutPrivateDetails({ error }: ErrorBody): ErrorBody {
  return { error: { code: error.code, message: error.message } };
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
  FST_ERR_CTP_BODY_TOO_LARGE: 'MAYFLY_BODY_TOO_LARGE',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'MAYFLY_REQUEST_INVALID',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'MAYFLY_REQUEST_INVALID',
  FST_ERR_BAD_URL: 'MAYFLY_REQUEST_INVALID',
  FST_ERR_MAX_PARAM_LENGTH: 'MAYFLY_FUNCTION_NAME',
};
