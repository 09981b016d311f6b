/** /v1/functions: deploy, list, look at, roll back, remove. */
import {
  DEPLOYMENT_BYTES_MAX,
  FunctionInfo,
  FunctionList,
  FunctionSource,
  Rollback,
  VersionList,
} from '@mayfly/protocol/api';
import { Type } from '@mayfly/schema';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ARCHIVE_TYPES, deploymentFromArchive } from '../archive.js';
import { deploymentOf } from '../deployment.js';
import { ApiError } from '../errors.js';
import type { Deployment } from '../registry.js';
import type { Services } from '../server.js';
import type { OnStep } from '../templates.js';
import { sendProgress } from './progress.js';
import { answers, NameParams, NDJSON, nothing } from './schemas.js';

const tags = ['functions'];
const params = NameParams;

const archive = Type.Unsafe<Uint8Array>({
  description: 'a tar archive with a mayfly.json at its root; behind gzip or zstd, if so wished',
});

const source = {
  content: {
    'application/json': { schema: FunctionSource },
    'text/javascript': { schema: Type.String({ description: 'the one file of a node function' }) },
    ...Object.fromEntries(ARCHIVE_TYPES.map((type) => [type, { schema: archive }])),
  },
};

export function functionRoutes(app: FastifyInstance, { registry, statistics }: Services): void {
  app.get(
    '/v1/functions',
    {
      schema: {
        tags,
        operationId: 'list',
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
        operationId: 'get',
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
      bodyLimit: DEPLOYMENT_BYTES_MAX,
      schema: {
        tags,
        operationId: 'deploy',
        summary: 'Deploy a version',
        description:
          'Answers when the version serves. When it fails, what served before goes on. Accept: application/x-ndjson gives a line ' +
          'for each step ({step, ms, imageBytes}), then one with the function ({function}) or with what went wrong ({error}).',
        params,
        body: source,
        response: answers(200, FunctionInfo, 'it serves'),
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const deployment = await readDeployment(request);
      if (!request.headers.accept?.includes(NDJSON)) return registry.deploy(name, deployment);
      const deploy = (onStep: OnStep) => registry.deploy(name, deployment, onStep);
      return sendProgress(request, reply, deploy);
    },
  );

  app.delete<NameParams>(
    '/v1/functions/:name',
    {
      schema: {
        tags,
        operationId: 'remove',
        summary: 'Remove a function and its versions',
        params,
        response: nothing,
      },
    },
    async ({ params }, reply) => {
      await registry.remove(params.name);
      statistics.forget(params.name);
      return reply.code(204).send();
    },
  );

  app.get<NameParams>(
    '/v1/functions/:name/versions',
    {
      schema: {
        tags,
        operationId: 'versions',
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
        operationId: 'rollback',
        summary: 'Serve another version',
        params,
        body: { content: { 'application/json': { schema: Rollback } } },
        response: answers(200, FunctionInfo, 'it serves'),
      },
    },
    ({ params, body }) => registry.rollback(params.name, body?.version),
  );
}

async function readDeployment({ body, headers }: FastifyRequest): Promise<Deployment> {
  if (typeof body === 'string') return deploymentOf({ source: body });
  if (body === undefined) throw new ApiError('MAYFLY_SOURCE_INVALID', 'the source is empty');
  if (!(body instanceof Uint8Array)) return deploymentOf(body as FunctionSource);
  const type = headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  if (ARCHIVE_TYPES.some((known) => known === type)) return deploymentFromArchive(body);
  const what = type === undefined ? 'without a content type' : `of type ${type}`;
  throw new ApiError('MAYFLY_MEDIA_TYPE', `a deployment ${what} is not understood`);
}
