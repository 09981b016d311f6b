/** /v1/functions/{name}/logs */
import type { FastifyInstance } from 'fastify';
import type { Registry } from '../registry.js';
import { NameParams } from './schemas.js';

export function logRoutes(app: FastifyInstance, registry: Registry): void {
  app.get<NameParams>(
    '/v1/functions/:name/logs',
    { schema: { tags: ['logs'], summary: 'Read console lines', params: NameParams } },
    ({ params }) => ({ logs: registry.get(params.name).log.lines }),
  );
}
