/** What goes wrong in a function, as the head of an error frame. */
import type { ErrorHead, FunctionErrorCode } from '@mayfly/protocol';
import { takeLogs } from './console.js';

const MESSAGE_CHARS_MAX = 4096;
const STACK_CHARS_MAX = 8192;

/** An error whose code the agent knows better than FUNCTION_THREW. */
export class FunctionError extends Error {
  readonly code: FunctionErrorCode;

  constructor(code: FunctionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Describes anything that can be thrown, hostile getters included; takes the log lines along. */
export function errorHead(thrown: unknown): ErrorHead {
  const code = thrown instanceof FunctionError ? thrown.code : 'FUNCTION_THREW';
  // A FunctionError is the agent's own; the stack that helps is that of its cause.
  const origin = thrown instanceof FunctionError ? thrown.cause : thrown;
  return {
    type: 'error',
    code,
    message: text(() => (thrown instanceof Error ? thrown.message : thrown)).slice(
      0,
      MESSAGE_CHARS_MAX,
    ),
    stack: text(() => (origin instanceof Error ? (origin.stack ?? '') : '')).slice(
      0,
      STACK_CHARS_MAX,
    ),
    logs: takeLogs(),
  };
}

function text(read: () => unknown): string {
  try {
    return String(read());
  } catch {
    return 'the thrown value cannot be described';
  }
}
