/** What goes wrong in a function, as the head of an error frame. */
import { type ErrorHead, type FunctionErrorCode, MayflyError } from '@mayfly/protocol';
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
  const own = ownError(thrown);
  const code = own?.code ?? 'FUNCTION_THREW';
  // A FunctionError is the agent's own; the stack that helps is that of its cause.
  const origin = own ? own.cause : thrown;
  return {
    type: 'error',
    code,
    message: own?.message ?? messageOf(thrown),
    stack: stackOf(origin).slice(0, STACK_CHARS_MAX),
    logs: takeLogs(),
  };
}

/** What it says, whatever it is. */
export function messageOf(thrown: unknown): string {
  const said = text(() => (thrown instanceof Error ? thrown.message : thrown));
  return said.slice(0, MESSAGE_CHARS_MAX);
}

function ownError(thrown: unknown): FunctionError | undefined {
  if (thrown instanceof FunctionError) return thrown;
  // Headers without end, or a result; nothing of the frame was written.
  const tooLarge = thrown instanceof MayflyError && thrown.code === 'MAYFLY_FRAME_TOO_LARGE';
  return tooLarge ? new FunctionError('FUNCTION_BAD_RESULT', thrown.message) : undefined;
}

/** Packages that set Error.prepareStackTrace may make anything of it. */
function stackOf(thrown: unknown): string {
  return text(() => {
    const stack: unknown = thrown instanceof Error ? thrown.stack : '';
    return typeof stack === 'string' ? withoutAgent(stack) : '';
  });
}

/** Without what called the function. */
function withoutAgent(stack: string): string {
  return stack
    .split('\n')
    .filter((line) => !line.includes(__filename))
    .join('\n');
}

function text(read: () => unknown): string {
  try {
    return String(read());
  } catch {
    return 'the thrown value cannot be described';
  }
}
