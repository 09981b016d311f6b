/** An immediate end of a TCP connection, which its peer cannot take for a proper one. */
import type { Socket } from 'node:net';

/**
 * Sends a reset and forgets what was not sent. Socket.resetAndDestroy() sends all of that first, however long the peer takes, and a
 * FIN behind it. What that method sets before it destroys the socket is set here; a Node.js without it would send the FIN at once.
 */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  // While a FIN is on its way down to the kernel, libuv refuses to reset, and the socket would stay open.
  const isEnding = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  if (isEnding) {
    socket.once('finish', () => resetSocket(socket));
    return;
  }
  Object.assign(socket, { resetAndClosing: true });
  socket.destroy();
}
