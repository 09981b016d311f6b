/** One invocation: from the frame that came in to the frame that goes out. */
import type { AgentHead, Frame, HostHead } from '@mayfly/protocol';
import { takeLogs } from './console.js';
import { callFetch } from './fetch.js';
import { callHandler } from './handler.js';
import type { InvocationContext, UserFunction } from './load.js';
import { makeUnique } from './unique.js';

export interface Answer {
  head: AgentHead;
  body?: Uint8Array | undefined;
}

/** Makes the clone unique, then calls the function. Rejects with whatever the function throws. */
export async function invoke(user: UserFunction, frame: Frame): Promise<Answer> {
  const head = frame.head as unknown as HostHead; // The host made it.
  if (head.env) Object.assign(process.env, head.env);
  const hooks = makeUnique(head.entropy, head.generation);
  if (hooks) await hooks;
  return call(user, head, frame.body);
}

/** The function and nothing around it. */
export async function call(
  user: UserFunction,
  head: HostHead,
  body: Frame['body'],
): Promise<Answer> {
  const context = contextOf(head);
  const reply =
    user.exports === 'fetch'
      ? await callFetch(user.call, head, body, context)
      : await callHandler(user.call, head, body, context);
  return { head: { ...reply.head, logs: takeLogs() }, body: reply.body };
}

function contextOf({ id, deadlineMs, generation }: HostHead): InvocationContext {
  return { id, deadlineMs, generation, remainingMs: () => Math.max(0, deadlineMs - Date.now()) };
}
