/** Ends a server that still has connections. */
import type { FastifyInstance } from 'fastify';

/**
 * Gives the function that closes the server: requests under way are answered, then every connection is cut. Without
 * this, a client that opened a connection and sent nothing would hold the server until it gives up. Call it before the
 * server listens. What is not answered, or read, after `cutMs` is cut as well.
 */
export function gracefulClose(app: FastifyInstance): (cutMs?: number) => Promise<void> {
  let answering = 0;
  let closing = false;
  const cutIfQuiet = () => {
    if (closing && answering === 0) app.server.closeAllConnections();
  };
  app.addHook('onRequest', (_request, reply, done) => {
    answering++;
    reply.raw.once('close', () => {
      answering--;
      cutIfQuiet();
    });
    done();
  });
  return async (cutMs) => {
    closing = true;
    const closed = app.close();
    cutIfQuiet();
    const cut = () => app.server.closeAllConnections();
    const timer = cutMs === undefined ? undefined : setTimeout(cut, cutMs);
    await closed;
    clearTimeout(timer);
  };
}
