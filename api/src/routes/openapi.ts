/** /openapi.json and the page to browse it at /docs, both from the schemas of the routes. Before all other routes. */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import { Type } from '@mayfly/schema';
import type { FastifyInstance, FastifySchema } from 'fastify';
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
  if (url === '/fn/:name') return { schema: { ...schema, hide: true }, url };
  if (url === '/fn/:name/*') return { schema: requestSchema, url: '/fn/:name/:path' };
  if (schema?.operationId === 'invoke') return { schema: { ...schema, body: eventBody }, url };
  return { schema: schema ?? {}, url };
}

export function describeRoutes(app: FastifyInstance): void {
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
    scope.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
  });
}
