/**
 * The agent for Node.js functions: what a Node guest runs. Its life:
 *
 *   load the function ─► warm up ─► ready ─► wait ─► (template captured, cloned) ─► invoke ─► answer ─► wait
 *                 └─► error, exit                                                    └─► error ──┘
 *
 *   MAYFLY_AGENT_STREAM  where the host is: a path, or fd:N     (default /dev/vsock/2/1024)
 *   MAYFLY_FUNCTION      the function's module                  (default /function/index.mjs)
 *   MAYFLY_WARMUP        the path of a request that it answers before it is ready
 */
import { writeSync } from 'node:fs';
import { keepTimeoutsAlive } from './abort-signal.js';
import { Channel } from './channel.js';
import { captureConsole, sendLogs, takeLogs } from './console.js';
import { errorHead, FunctionError, messageOf } from './failure.js';
import { invoke } from './invoke.js';
import { loadFunction, type UserFunction } from './load.js';
import { BlockingStream, STREAM_PATH_DEFAULT } from './stream.js';
import { rememberTextBodies } from './text-body.js';
import { installUnique } from './unique.js';
import { warmUp, warmUpFunction } from './warm-up.js';

const exitProcess = (process as unknown as { reallyExit(code: number): never }).reallyExit.bind(
  process,
);

/** Ends what the function is doing, from outside of its promise; undefined while none of its code runs. */
let interrupt: ((error: unknown) => void) | undefined;
let ready = false;

async function main(): Promise<void> {
  const stream = BlockingStream.open(process.env.MAYFLY_AGENT_STREAM ?? STREAM_PATH_DEFAULT);
  const path = process.env.MAYFLY_FUNCTION ?? '/function/index.mjs';
  delete process.env.MAYFLY_AGENT_STREAM;
  const warmup = process.env.MAYFLY_WARMUP;
  delete process.env.MAYFLY_FUNCTION;
  delete process.env.MAYFLY_WARMUP;
  captureConsole();
  installUnique();
  rememberTextBodies();
  keepTimeoutsAlive();
  catchEscapes(stream);

  let user: UserFunction;
  try {
    user = await interruptible(() => loadFunction(path));
  } catch (error) {
    stream.write(errorHead(error));
    return exitProcess(1);
  }
  const logs = takeLogs();
  // In this order: collecting garbage also makes V8 forget what it learned about code.
  collectGarbage();
  await warmUp();
  try {
    if (warmup !== undefined) {
      logs.push(...(await interruptible(() => warmUpFunction(user, warmup))));
      user.renew?.();
    }
  } catch (error) {
    stream.write(errorHead(error));
    return exitProcess(1);
  }
  const { version, pid } = process;
  ready = true;
  stream.write({ type: 'ready', exports: user.exports, version, pid, logs });
  await serve(stream, user);
}

async function serve(stream: BlockingStream, user: UserFunction): Promise<void> {
  for (let frame = stream.read(); frame; frame = stream.read()) {
    const invocation = frame;
    if (invocation.head.type === 'chunk') continue; // The function before left it unread.
    const channel = new Channel(stream);
    sendLogs((logs) => channel.write({ type: 'log', logs }));
    try {
      await interruptible(() => invoke(user, invocation, channel));
    } catch (error) {
      channel.write(errorHead(error));
    }
    channel.close();
    sendLogs(undefined);
  }
  exitProcess(0);
}

/** Runs code of the function so that what escapes its promise still ends it. */
function interruptible<T>(work: () => Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    interrupt = (error) => {
      interrupt = undefined;
      reject(error);
    };
    work().then((value) => {
      interrupt = undefined;
      resolve(value);
    }, interrupt);
  });
}

/** Errors thrown in callbacks, an event loop with nothing left to do, and process.exit(). */
function catchEscapes(stream: BlockingStream): void {
  process.on('uncaughtException', (error, origin) => {
    if (!interrupt) return exitProcess(70);
    const code = origin === 'unhandledRejection' ? 'FUNCTION_REJECTED' : 'FUNCTION_UNCAUGHT';
    interrupt(new FunctionError(code, messageOf(error), { cause: error }));
  });
  process.on('beforeExit', () => {
    const message = 'its promise is pending, and nothing is left that could settle it';
    interrupt?.(new FunctionError('FUNCTION_STALLED', message));
  });
  Object.defineProperty(process, 'reallyExit', {
    value: (code: number) => {
      if (!interrupt) return exitProcess(code);
      const message = `the function called process.exit(${code ?? ''})`;
      stream.write(errorHead(new FunctionError('FUNCTION_EXITED', message)));
      if (!ready) return exitProcess(1);
      // process.exit() must not return, and the host wants an idle guest: wait here until the clone is gone.
      while (stream.read());
      return exitProcess(code);
    },
  });
}

/** Makes the template smaller. The flag behind it is ours, so the function shall not see it. */
function collectGarbage(): void {
  const scope = globalThis as { gc?: (() => void) | undefined };
  scope.gc?.();
  scope.gc = undefined; // It cannot be deleted.
}

main().catch((error: unknown) => {
  writeSync(2, `mayfly agent: ${error instanceof Error ? error.stack : error}\n`);
  exitProcess(70);
});
