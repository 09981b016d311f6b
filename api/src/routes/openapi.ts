/** /openapi.json and the page to browse it at /docs, both from the schemas of the routes. Before all other routes. */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';

const INFO = {
  title: 'Mayfly',
  version: '1',
  description: 'Functions over HTTP, each request in a pristine clone.',
};

export function describeRoutes(app: FastifyInstance): void {
  app.register(swagger, { openapi: { openapi: '3.1.0', info: INFO } });
  app.register(swaggerUi, { routePrefix: '/docs' });
  app.register(async (scope) => {
    scope.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
  });
}
