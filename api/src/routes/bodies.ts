/** How routes get the bodies of their requests. */
import type { FastifyInstance } from 'fastify';
import { ApiError } from '../errors.js';

/** JSON as a value, text as a string, everything else as bytes. */
export function parseBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer' },
    (_request, body, done) =>
      settle(done, () => (body.length === 0 ? undefined : JSON.parse(textOf(body)))),
  );
  app.addContentTypeParser<Buffer>(
    /^text\/|^application\/(?:java|type)script/,
    { parseAs: 'buffer' },
    (_request, body, done) => settle(done, () => textOf(body)),
  );
  takeBytes(app, '*');
}

/** Bodies as they are. */
export function takeBodiesAsTheyAre(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  takeBytes(app, '*');
}

/** Bodies as they come: the message itself, which nobody has read from. */
export function takeBodiesAsTheyCome(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, message, done) => done(null, message));
}

function takeBytes(app: FastifyInstance, type: string): void {
  app.addContentTypeParser(type, { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
}

function settle(done: (error: Error | null, body?: unknown) => void, parse: () => unknown): void {
  try {
    done(null, parse());
  } catch (error) {
    const isJson = error instanceof SyntaxError;
    const why = isJson ? `not JSON: ${error.message}` : 'not UTF-8';
    done(new ApiError('MAYFLY_REQUEST_INVALID', `the body is ${why}`));
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function textOf(body: Buffer): string {
  return utf8.decode(body);
}
