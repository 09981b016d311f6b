/** GET /healthz */
import { Health } from '@mayfly/protocol/api';
import type { FastifyInstance } from 'fastify';
import type { Services } from '../server.js';
import { answers } from './schemas.js';

export function healthRoutes(app: FastifyInstance, { registry, invoker }: Services): void {
  app.get(
    '/healthz',
    {
      schema: {
        tags: ['server'],
        summary: 'Whether the process answers',
        response: answers(200, Health, 'it does'),
      },
    },
    (): Health => ({ status: 'ok', functions: registry.size, inFlight: invoker.inFlight }),
  );
}
