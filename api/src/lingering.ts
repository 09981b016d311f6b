/** How a connection ends whose client may still be writing. */
import type { Socket } from 'node:net';

/** For a client that reads no answer before it has written its whole request. */
const LINGER_MS = 5000;

/**
 * Has a connection that is closed behind its answer read on for a while. Closed at once, with bytes that nobody has
 * read, it would be reset, and the client could lose the answer (RFC 9112, 9.6).
 */
export function lingerBeforeClose(socket: Socket): void {
  // What Node.js calls behind the last answer of a connection.
  socket.destroySoon = () => {
    socket.end();
    destroyLater(socket);
  };
}

/** Ends a connection whose writing side has ended, if the client does not. */
export function destroyLater(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
}
