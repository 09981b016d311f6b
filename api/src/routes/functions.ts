/** /v1/functions: deploy, list, look at, roll back, remove. */
import {
  FunctionInfo,
  FunctionList,
  FunctionSource,
  Rollback,
  VersionList,
} from '@mayfly/protocol/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { deploymentOf } from '../deployment.js';
import { ApiError } from '../errors.js';
import type { Deployment, Registry } from '../registry.js';
import { answers, NameParams, nothing } from './schemas.js';

const tags = ['functions'];
const params = NameParams;

const source = {
  content: {
    'application/json': { schema: FunctionSource },
    'text/javascript': { schema: Type.String({ description: 'the one file of a node function' }) },
  },
};

export function functionRoutes(app: FastifyInstance, registry: Registry): void {
  app.get(
    '/v1/functions',
    {
      schema: {
        tags,
        summary: 'List the functions',
        response: answers(200, FunctionList, 'all of them, by name'),
      },
    },
    () => ({ functions: registry.list() }),
  );

  app.get<NameParams>(
    '/v1/functions/:name',
    {
      schema: {
        tags,
        summary: 'Look at a function',
        params,
        response: answers(200, FunctionInfo, 'with the settings of its current version'),
      },
    },
    ({ params }) => registry.info(params.name),
  );

  app.put<NameParams>(
    '/v1/functions/:name',
    {
      schema: {
        tags,
        summary: 'Deploy a version',
        description: 'Answers when the version serves. When it fails, what served before goes on.',
        params,
        body: source,
        response: answers(200, FunctionInfo, 'it serves'),
      },
    },
    (request) => registry.deploy(request.params.name, readDeployment(request)),
  );

  app.delete<NameParams>(
    '/v1/functions/:name',
    { schema: { tags, summary: 'Remove a function and its versions', params, response: nothing } },
    async ({ params }, reply) => {
      await registry.remove(params.name);
      return reply.code(204).send();
    },
  );

  app.get<NameParams>(
    '/v1/functions/:name/versions',
    {
      schema: {
        tags,
        summary: 'List the versions of a function',
        params,
        response: answers(200, VersionList, 'newest first'),
      },
    },
    ({ params }) => ({ versions: registry.versions(params.name) }),
  );

  app.post<NameParams & { Body: Rollback | undefined }>(
    '/v1/functions/:name/rollback',
    {
      schema: {
        tags,
        summary: 'Serve another version',
        params,
        body: { content: { 'application/json': { schema: Rollback } } },
        response: answers(200, FunctionInfo, 'it serves'),
      },
    },
    ({ params, body }) => registry.rollback(params.name, body?.version),
  );
}

function readDeployment({ body, headers }: FastifyRequest): Deployment {
  if (typeof body === 'string') return deploymentOf({ source: body });
  if (body instanceof Uint8Array) {
    const type = headers['content-type'] ?? 'no content type';
    throw new ApiError('MAYFLY_MEDIA_TYPE', `a deployment of ${type} is not understood`);
  }
  if (body === undefined) throw new ApiError('MAYFLY_SOURCE_INVALID', 'the source is empty');
  return deploymentOf(body as FunctionSource);
}
