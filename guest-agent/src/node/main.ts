/**
 * The agent for Node.js functions: what a Node guest runs. Its life:
 *
 *   use the platform ─► load the function ─► warm up ─► ready ─► wait ─► (template captured, cloned) ─► invoke ─► answer ─► wait
 *                                      └─► error, exit                                                    └─► error ──┘
 *
 *   MAYFLY_AGENT_STREAM  where the host is: a path, or fd:N     (default /dev/vsock/2/1024)
 *   MAYFLY_FUNCTION      the function's module                  (default /function/index.mjs)
 *   MAYFLY_WARMUP        what it answers before it is ready: a list of WarmUpCall, as JSON
 */
import { writeSync } from 'node:fs';
import type { WarmUpCall } from '@mayfly/protocol';
import { keepTimeoutsAlive } from './abort-signal.js';
import { newCollector } from './collector.js';
import { compileOnce } from './compilation.js';
import { captureConsole, takeLogs } from './console.js';
import { errorHead, FunctionError, messageOf } from './failure.js';
import { interrupt, interruptible, isRunning } from './interrupt.js';
import { loadFunction, type UserFunction } from './load.js';
import { usePlatform } from './platform.js';
import { BlockingStream, STREAM_PATH_DEFAULT } from './stream.js';
import { rememberTextBodies } from './text-body.js';
import { turn } from './turn.js';
import { installUnique } from './unique.js';
import { warmUp, warmUpFunction } from './warm-up.js';

const exitProcess = (process as unknown as { reallyExit(code: number): never }).reallyExit.bind(
  process,
);

let ready = false;

async function main(): Promise<void> {
  const stream = BlockingStream.open(process.env.MAYFLY_AGENT_STREAM ?? STREAM_PATH_DEFAULT);
  const path = process.env.MAYFLY_FUNCTION ?? '/function/index.mjs';
  delete process.env.MAYFLY_AGENT_STREAM;
  const warmup = JSON.parse(process.env.MAYFLY_WARMUP ?? '[]') as WarmUpCall[];
  delete process.env.MAYFLY_FUNCTION;
  delete process.env.MAYFLY_WARMUP;
  const collect = newCollector();
  const loaded = compileOnce(); // What optimises the parser of fetch would grow the template by 20 MiB.
  captureConsole();
  installUnique();
  rememberTextBodies();
  await usePlatform();
  loaded();
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
  // In this order: collecting all garbage makes the template smaller, but also makes V8 forget what it learned about code.
  collect();
  await warmUp();
  try {
    for (const wanted of warmup) {
      logs.push(...(await interruptible(() => warmUpFunction(user, wanted))));
      user.renew?.();
    }
    collect({ type: 'minor' }); // No clone has to do it for what was left here,
    await new Promise((resolve) => setImmediate(resolve)); // or to call what waits for collected objects.
  } catch (error) {
    stream.write(errorHead(error));
    return exitProcess(1);
  }
  const { version, pid } = process;
  ready = true;
  const exports = user.exports === 'handler' ? 'handler' : 'fetch';
  stream.write({ type: 'ready', exports, version, pid, logs });
  await serve(stream, user);
}

async function serve(stream: BlockingStream, user: UserFunction): Promise<void> {
  for (let frame = stream.read(); frame; frame = stream.read()) {
    if (frame.head.type === 'chunk') continue; // The function before left it unread.
    await turn(stream, user, frame);
  }
  exitProcess(0);
}

/** Errors thrown in callbacks, an event loop with nothing left to do, and process.exit(). */
function catchEscapes(stream: BlockingStream): void {
  process.on('uncaughtException', (error, origin) => {
    if (!isRunning()) return exitProcess(70);
    const code = origin === 'unhandledRejection' ? 'FUNCTION_REJECTED' : 'FUNCTION_UNCAUGHT';
    interrupt(new FunctionError(code, messageOf(error), { cause: error }));
  });
  process.on('beforeExit', () => {
    const message = 'its promise is pending, and nothing is left that could settle it';
    interrupt(new FunctionError('FUNCTION_STALLED', message));
  });
  Object.defineProperty(process, 'reallyExit', {
    value: (code: number) => {
      if (!isRunning()) return exitProcess(code);
      const message = `the function called process.exit(${code ?? ''})`;
      stream.write(errorHead(new FunctionError('FUNCTION_EXITED', message)));
      if (!ready) return exitProcess(1);
      // process.exit() must not return, and the host wants an idle guest: wait here until the clone is gone.
      while (stream.read());
      return exitProcess(code);
    },
  });
}

main().catch((error: unknown) => {
  writeSync(2, `mayfly agent: ${error instanceof Error ? error.stack : error}\n`);
  exitProcess(70);
});
