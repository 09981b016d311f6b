/**
 * Expect: 100-continue (RFC 9110, 10.1.1): a client that waits with its body is told to send it in the moment in which somebody
 * begins to read it. What is refused before, is refused without it.
 */
import type { IncomingMessage, Server } from 'node:http';

const waiting = new WeakSet<IncomingMessage>();

export function continueWhenRead(server: Server): void {
  server.on('checkContinue', (request, response) => {
    waiting.add(request);
    const read = request._read; // what a stream is asked for bytes with
    request._read = (size) => {
      request._read = read;
      // Behind an answer Node.js reads what is left of a request, to throw it away.
      if (!response.headersSent && waiting.delete(request)) response.writeContinue();
      read.call(request, size);
    };
    server.emit('request', request, response);
  });
}

/** Whether the client waits to be told to send its body: nobody knows whether it will. */
export function waitsForContinue(request: IncomingMessage): boolean {
  return waiting.has(request);
}
