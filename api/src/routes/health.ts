/** GET /healthz */
import type { Health } from '@mayfly/protocol/api';
import type { FastifyInstance } from 'fastify';
import type { Registry } from '../registry.js';

export function healthRoutes(app: FastifyInstance, registry: Registry): void {
  app.get('/healthz', (): Health => {
    return { status: 'ok', functions: registry.size, inFlight: registry.inFlight };
  });
}
