/** How the server is: /healthz, /readyz, /metrics and /v1/stats. */
import { VERSION } from '@mayfly/protocol';
import { FunctionStats, Health, Readiness, Stats } from '@mayfly/protocol/api';
import { Type } from '@mayfly/schema';
import type { FastifyInstance } from 'fastify';
import { describeMetrics, type MetricsText } from '../metrics.js';
import type { Services } from '../server.js';
import { answers, NameParams } from './schemas.js';

const tags = ['server'];
const text = { description: 'metrics', content: { 'text/plain': { schema: Type.String() } } };

export function healthRoutes(app: FastifyInstance, services: Services): void {
  const { registry, invoker, statistics } = services;
  let metrics: Promise<MetricsText> | undefined;
  let draining = false;
  services.onDrain.addEventListener('abort', () => {
    draining = true;
  });

  app.get(
    '/healthz',
    {
      schema: {
        tags,
        operationId: 'health',
        summary: 'Whether the process answers',
        response: answers(200, Health, 'it does'),
      },
    },
    (): Health => ({
      status: 'ok',
      version: VERSION,
      functions: registry.size,
      inFlight: invoker.inFlight,
    }),
  );

  app.get(
    '/readyz',
    {
      schema: {
        tags,
        operationId: 'readiness',
        summary: 'Whether requests are welcome',
        response: {
          ...answers(200, Readiness, 'they are'),
          ...answers(503, Readiness, 'the server drains'),
        },
      },
    },
    async (_request, reply): Promise<Readiness> => {
      if (!draining) return { status: 'ready' };
      reply.code(503);
      return { status: 'draining' };
    },
  );

  app.get(
    '/metrics',
    {
      schema: {
        tags,
        operationId: 'metrics',
        summary: 'What Prometheus reads',
        response: { 200: text },
      },
    },
    async (_request, reply) => {
      metrics ??= describeMetrics(services);
      const { contentType, text } = await metrics;
      reply.type(contentType);
      return text();
    },
  );

  const statsOf = (name: string) =>
    statistics.of(name).stats(name, registry.get(name).record.current, registry.load(name));

  app.get(
    '/v1/stats',
    {
      schema: {
        tags,
        operationId: 'stats',
        summary: 'How all functions fare',
        response: answers(200, Stats, 'since the server started'),
      },
    },
    (): Stats => ({
      startedAt: statistics.startedAt.toISOString(),
      functions: registry.names.map(statsOf),
    }),
  );

  app.get<NameParams>(
    '/v1/functions/:name/stats',
    {
      schema: {
        tags,
        operationId: 'functionStats',
        summary: 'How a function fares',
        params: NameParams,
        response: answers(200, FunctionStats, 'since the server started'),
      },
    },
    ({ params }) => {
      registry.get(params.name);
      return statsOf(params.name);
    },
  );
}
