/** /v1/functions/{name}/env: variables and secrets that no deployment is needed for. */
import { Environment, EnvironmentInfo, EnvironmentPatch } from '@mayfly/protocol/api';
import type { FastifyInstance } from 'fastify';
import type { Registry } from '../registry.js';
import { answers, NameParams, nothing } from './schemas.js';

const URL = '/v1/functions/:name/env';
const tags = ['environment'];
const params = NameParams;
const response = answers(200, EnvironmentInfo, 'for invocations from now on');
const json = <Schema>(schema: Schema) => ({ content: { 'application/json': { schema } } });

export function environmentRoutes(app: FastifyInstance, registry: Registry): void {
  app.get<NameParams>(
    URL,
    {
      schema: {
        tags,
        operationId: 'environment',
        summary: 'Look at the environment',
        params,
        response,
      },
    },
    ({ params }) => registry.environment(params.name),
  );

  app.put<NameParams & { Body: Environment }>(
    URL,
    {
      schema: {
        tags,
        operationId: 'replaceEnvironment',
        summary: 'Replace the environment',
        params,
        body: json(Environment),
        response,
      },
    },
    async ({ params, body }) => {
      await registry.setEnvironment(params.name, body);
      return registry.environment(params.name);
    },
  );

  app.patch<NameParams & { Body: EnvironmentPatch }>(
    URL,
    {
      schema: {
        tags,
        operationId: 'changeEnvironment',
        summary: 'Change some variables; null removes one',
        params,
        body: json(EnvironmentPatch),
        response,
      },
    },
    async ({ params, body }) => {
      await registry.patchEnvironment(params.name, body);
      return registry.environment(params.name);
    },
  );

  app.delete<NameParams>(
    URL,
    {
      schema: {
        tags,
        operationId: 'emptyEnvironment',
        summary: 'Empty the environment',
        params,
        response: nothing,
      },
    },
    async ({ params }, reply) => {
      await registry.setEnvironment(params.name, {});
      return reply.code(204).send();
    },
  );
}
