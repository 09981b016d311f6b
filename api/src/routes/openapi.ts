/**
 * /openapi.json and the page to browse it at /docs, both from the schemas of the routes. They are made at the first request
 * for them, since making them takes longer than everything else at the start of a server: by another server, which has the
 * same routes and never listens.
 */
import { Type } from '@mayfly/schema';
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema } from 'fastify';
import { ApiError } from '../errors.js';
import { errors } from './schemas.js';

const INFO = {
  title: 'Mayfly',
  version: '1',
  description:
    'Functions over HTTP, each request in a pristine clone. Every answer that is neither a success nor a function’s own is `{code, message, hint}`.',
  license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
};

/** In the order of the page. */
const TAGS = [
  { name: 'functions', description: 'what is deployed' },
  { name: 'requests', description: 'to functions, of any method, streaming both ways' },
  { name: 'invocations', description: 'with events, now or later, and the records of all' },
  { name: 'environment', description: 'variables and secrets, without a deployment' },
  { name: 'logs', description: 'what functions write' },
  { name: 'server', description: 'how it is' },
];

const anyType = { schema: Type.Unknown() };

const requestSchema: FastifySchema = {
  tags: ['requests'],
  summary: 'Send a request to a function',
  description:
    'Method, path behind the name, query, headers and body reach the function as they are; its answer comes back as it is. NAME@VERSION calls a version other than the current one.',
  params: Type.Object({
    name: Type.String({ description: 'NAME or NAME@VERSION' }),
    path: Type.Optional(Type.String({ description: 'any path, slashes included' })),
  }),
  response: {
    default: { description: 'what the function answers', content: { '*/*': anyType } },
    ...errors,
  },
};

const eventBody = { content: { 'application/json': anyType } };

/**
 * What routes say in the document only: requests to functions are not checked by a schema, and events are taken as bytes. The
 * two routes to functions are one.
 */
function documented(schema: FastifySchema | undefined, url: string) {
  if (schema?.hide) return { schema, url };
  if (url === '/fn/:name') return { schema: { ...schema, hide: true }, url };
  if (url === '/fn/:name/*') return { schema: requestSchema, url: '/fn/:name/:path' };
  if (schema?.operationId === 'invoke') return { schema: { ...schema, body: eventBody }, url };
  return { schema: schema ?? {}, url };
}

/** Has a server describe the routes that are added to it afterwards. */
export async function describeRoutes(app: FastifyInstance): Promise<void> {
  const [{ default: swagger }, { default: swaggerUi }] = await Promise.all([
    import('@fastify/swagger'),
    import('@fastify/swagger-ui'),
  ]);
  app.register(swagger, {
    openapi: { openapi: '3.1.0', info: INFO, tags: TAGS },
    transform: ({ schema, url }) => documented(schema, url),
  });
  app.register(swaggerUi, {
    routePrefix: '/docs',
    uiConfig: {
      layout: 'BaseLayout', // without a bar that opens other descriptions
      deepLinking: true,
      displayRequestDuration: true,
      defaultModelsExpandDepth: -1,
    },
    theme: { title: 'Mayfly API' },
  });
  app.register(async (scope) => {
    let text: string | undefined; // the same for as long as the server runs
    scope.get('/openapi.json', { schema: { hide: true } }, (_request, reply) => {
      text ??= JSON.stringify(app.swagger());
      return reply.type('application/json; charset=utf-8').send(text);
    });
  });
}

/** @param describe makes the server that answers, once */
export function descriptionRoutes(
  app: FastifyInstance,
  describe: () => Promise<FastifyInstance>,
): void {
  let described: Promise<FastifyInstance> | undefined;
  const answer = async ({ url, headers }: FastifyRequest, reply: FastifyReply) => {
    described ??= describe();
    const {
      statusCode,
      headers: told,
      rawPayload,
    } = await (await described).inject({ url, headers });
    if (statusCode === 404) throw new ApiError('MAYFLY_ROUTE_UNKNOWN', `there is no GET ${url}`);
    const { connection: _, ...rest } = told;
    return reply.code(statusCode).headers(rest).send(rawPayload);
  };
  for (const url of ['/openapi.json', '/docs', '/docs/*']) {
    app.get(url, { schema: { hide: true } }, answer);
  }
  app.addHook('onClose', async () => (await described)?.close());
}
