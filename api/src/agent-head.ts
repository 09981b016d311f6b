/**
 * What the guest says, checked: the guest is hostile, and its heads end up in HTTP answers. A head that passes here has
 * the types that it claims, a status and headers that HTTP can carry, and bounded log lines.
 */
import { validateHeaderName, validateHeaderValue } from 'node:http';
import type {
  ErrorHead,
  FunctionErrorCode,
  FunctionExport,
  LogLine,
  ReadyHead,
  ResponseHead,
  ResultHead,
} from '@mayfly/protocol';
import { ApiError } from './errors.js';

const HEADERS_MAX = 256;
/** What a guest printed within one turn is one list of lines; vmm/src/worker/output-lines.ts bounds it. */
const LOG_LINES_MAX = 4100;
const LOG_CHARS_MAX = 8192;
const TEXT_CHARS_MAX = 16 * 1024;
const LOCATION_CHARS_MAX = 200;

const FUNCTION_ERRORS = new Set<string>([
  'FUNCTION_THREW',
  'FUNCTION_UNCAUGHT',
  'FUNCTION_REJECTED',
  'FUNCTION_SYNTAX',
  'FUNCTION_NO_EXPORT',
  'FUNCTION_NO_IMPORT',
  'FUNCTION_WARMUP',
  'FUNCTION_BAD_RESULT',
  'FUNCTION_EXITED',
  'FUNCTION_FAILED',
  'FUNCTION_STALLED',
] satisfies FunctionErrorCode[]);

const EXPORTS = new Set<string>([
  'fetch',
  'handler',
  'wsgi',
  'asgi',
  'stdin',
  'http',
  'frames',
] satisfies FunctionExport[]);

const LEVELS = new Set<string>(['debug', 'info', 'warn', 'error'] satisfies LogLine['level'][]);

type Fields = Record<string, unknown>;

/** The first frame of an agent. @throws ApiError MAYFLY_GUEST_ANSWER */
export function checkReadyHead(head: unknown): ReadyHead | ErrorHead {
  const fields = fieldsOf(head);
  if (fields.type === 'error') return errorHead(fields);
  const { type, exports, pid } = fields;
  if (type !== 'ready' || !EXPORTS.has(exports as string)) refuse('is not ready');
  const version = textOf(fields.version, 'version');
  const number = typeof pid === 'number' ? pid : refuse('has no pid');
  const logs = logLines(fields.logs);
  return { type: 'ready', exports: exports as FunctionExport, version, pid: number, logs };
}

/** The answer to an invocation. @throws ApiError MAYFLY_GUEST_ANSWER */
export function checkAnswerHead(head: unknown): ResponseHead | ResultHead | ErrorHead {
  const fields = fieldsOf(head);
  if (fields.type === 'response') return responseHead(fields);
  if (fields.type === 'result') return { type: 'result', logs: logLines(fields.logs) };
  if (fields.type === 'error') return errorHead(fields);
  return refuse('is neither response, result nor error');
}

function responseHead(fields: Fields): ResponseHead {
  const { status, headers } = fields;
  if (!Number.isInteger(status) || (status as number) < 200 || (status as number) > 599) {
    refuse('has a status that is not in 200..599');
  }
  if (!Array.isArray(headers) || headers.length > HEADERS_MAX) {
    refuse(`has no headers, or more than ${HEADERS_MAX}`);
  }
  return {
    type: 'response',
    status: status as number,
    headers: headers.map(headerPair),
    logs: logLines(fields.logs),
  };
}

function headerPair(pair: unknown): [string, string] {
  if (!Array.isArray(pair) || pair.length !== 2) refuse('has a header that is no pair');
  const [name, value] = pair as [unknown, unknown];
  if (typeof name !== 'string' || typeof value !== 'string') refuse('has a header that is no text');
  // The one name that objects of headers, ours and Fastify's, cannot hold.
  if (name === '__proto__') refuse('has a header that HTTP cannot carry');
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  } catch {
    refuse('has a header that HTTP cannot carry');
  }
  return [name.toLowerCase(), value];
}

function errorHead(fields: Fields): ErrorHead {
  const { code } = fields;
  if (typeof code !== 'string' || !FUNCTION_ERRORS.has(code)) refuse('has an unknown error code');
  return {
    type: 'error',
    code: code as FunctionErrorCode,
    message: textOf(fields.message, 'message'),
    stack: textOf(fields.stack, 'stack'),
    ...(fields.location !== undefined && { location: locationOf(fields.location) }),
    logs: logLines(fields.logs),
  };
}

function locationOf(location: unknown): NonNullable<ErrorHead['location']> {
  const { line, column, lineText } = fieldsOf(location);
  if (!isCount(line) || !isCount(column)) refuse('has a place in the source that is none');
  return { line, column, lineText: textOf(lineText, 'lineText').slice(0, LOCATION_CHARS_MAX) };
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;

/** The lines of a log frame. @throws ApiError MAYFLY_GUEST_ANSWER */
export function logLines(lines: unknown): LogLine[] {
  if (!Array.isArray(lines) || lines.length > LOG_LINES_MAX) refuse('has no logs, or too many');
  return lines.map((line: unknown) => {
    const { level, time, text } = fieldsOf(line);
    if (typeof level !== 'string' || !LEVELS.has(level)) refuse('has a log line of no level');
    if (typeof time !== 'number' || !Number.isFinite(time)) refuse('has a log line of no time');
    return {
      level: level as LogLine['level'],
      time,
      text: textOf(text, 'text').slice(0, LOG_CHARS_MAX),
    };
  });
}

function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) refuse('is no object');
  return value as Fields;
}

function textOf(value: unknown, field: string): string {
  return typeof value === 'string' ? value.slice(0, TEXT_CHARS_MAX) : refuse(`has no ${field}`);
}

function refuse(what: string): never {
  throw new ApiError('MAYFLY_GUEST_ANSWER', `the guest's answer ${what}`);
}
