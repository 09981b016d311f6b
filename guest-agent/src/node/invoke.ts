/** One invocation: from the frame that came in to the last one that goes out. */
import type { Frame, HostHead } from '@mayfly/protocol';
import { sendAnswer } from './answer.js';
import type { Channel } from './channel.js';
import { flushLogs } from './console.js';
import { Background, contextOf } from './context.js';
import { callFetch } from './fetch.js';
import { callHandler } from './handler.js';
import type { UserFunction } from './load.js';
import { RequestBody } from './request-body.js';
import { makeUnique } from './unique.js';

/** Makes the clone unique, then calls the function. Rejects with whatever the function throws. */
export async function invoke(user: UserFunction, frame: Frame, channel: Channel): Promise<void> {
  const head = frame.head as unknown as HostHead; // The host made it.
  if (head.env) Object.assign(process.env, head.env);
  const hooks = makeUnique(head.entropy, head.generation);
  if (hooks) await hooks;
  await call(user, head, frame.body, channel);
}

/** The function and nothing around it. */
export async function call(
  user: UserFunction,
  head: HostHead,
  firstBytes: Frame['body'],
  channel: Channel,
): Promise<void> {
  if (user.exports === 'program') {
    // It may write before it reads, and what is written takes the place of what was read.
    return user.call(head, new RequestBody(head, Buffer.from(firstBytes), channel), channel);
  }
  const body = new RequestBody(head, firstBytes, channel);
  const background = new Background();
  const context = contextOf(head, background);
  const reply =
    user.exports === 'fetch'
      ? await callFetch(user.call, head, body, context)
      : await callHandler(user.call, head, body, context);
  const waits = await sendAnswer(channel, reply, background);
  if (!waits) return;
  await background.settled();
  flushLogs();
  channel.write({ type: 'done' });
}
