/** A turn of the agent's loop: one frame of the host, and all that the invocation in it answers. */
import type { Frame } from '@mayfly/protocol';
import { Channel, type Wire } from './channel.js';
import { sendLogs } from './console.js';
import { errorHead } from './failure.js';
import { interruptible } from './interrupt.js';
import { invoke } from './invoke.js';
import type { UserFunction } from './load.js';

/** Resolves when the host has the answer, or the error that there is instead. Rejects when it cannot be written. */
export async function turn(wire: Wire, user: UserFunction, frame: Frame): Promise<void> {
  const channel = new Channel(wire);
  sendLogs((logs) => channel.write({ type: 'log', logs }));
  try {
    await interruptible(() => invoke(user, frame, channel));
  } catch (error) {
    channel.write(errorHead(error));
  }
  channel.close();
  sendLogs(undefined);
}
