/** Invocations with an event, and the records of all. */
import { InvocationList, InvocationRecord, InvokeQuery } from '@mayfly/protocol/api';
import { Type } from '@mayfly/schema';
import type { FastifyInstance } from 'fastify';
import { ApiError } from '../errors.js';
import { parseJson } from '../json.js';
import type { Services } from '../server.js';
import { recordOf } from '../trace.js';
import { takeBodiesAsTheyAre } from './bodies.js';
import { announce, clientGone } from './invocation.js';
import { answers, NameParams } from './schemas.js';

const URL = '/v1/functions/:name/invocations';
const LIMIT_DEFAULT = 100;
const tags = ['invocations'];
const response = answers(200, InvocationRecord, 'it is over');

const IdParams = Type.Object({ id: Type.String({ maxLength: 64 }) });
const ListQuery = Type.Object(
  {
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1000, description: 'the newest so many; 100' }),
    ),
  },
  { additionalProperties: false },
);

export function recordRoutes(app: FastifyInstance, { registry, invocations }: Services): void {
  app.get<{ Params: { id: string } }>(
    '/v1/invocations/:id',
    {
      schema: {
        tags,
        operationId: 'invocation',
        summary: 'Look at an invocation',
        params: IdParams,
        response: answers(200, InvocationRecord, 'as far as it is'),
      },
    },
    ({ params }) => {
      const trace = invocations.get(params.id);
      if (!trace) throw new ApiError('MAYFLY_INVOCATION_UNKNOWN');
      return recordOf(trace);
    },
  );

  app.get<NameParams & { Querystring: { limit?: number } }>(
    URL,
    {
      schema: {
        tags,
        operationId: 'invocations',
        summary: 'List the invocations of a function',
        params: NameParams,
        querystring: ListQuery,
        response: answers(200, InvocationList, 'newest first'),
      },
    },
    ({ params, query }) => {
      registry.get(params.name);
      const traces = invocations.list(params.name, query.limit ?? LIMIT_DEFAULT);
      return { invocations: traces.map(recordOf) };
    },
  );
}

export function eventRoutes(app: FastifyInstance, { invoker, later }: Services): void {
  takeBodiesAsTheyAre(app);
  app.post<NameParams & { Querystring: InvokeQuery }>(
    URL,
    {
      schema: {
        tags,
        operationId: 'invoke',
        summary: 'Invoke a function with an event',
        description: 'The body is the event, any JSON; null if there is none.',
        params: NameParams,
        querystring: InvokeQuery,
        response: {
          ...response,
          ...answers(202, InvocationRecord, 'with async: it is on disk and will run'),
        },
      },
    },
    async (request, reply) => {
      const event = eventBytes(request.body);
      const { async: isAsync, version } = request.query;
      const target = { name: request.params.name, version };
      if (isAsync) {
        const trace = await later.accept(target, event);
        announce(reply)(trace);
        reply.code(202).header('location', `/v1/invocations/${trace.id}`);
        return recordOf(trace);
      }
      const options = { signal: clientGone(reply), onAdmitted: announce(reply) };
      const { trace, timing } = await invoker.invokeEvent(target, event, options);
      request.timing.invocation = timing;
      return recordOf(trace);
    },
  );
}

function eventBytes(body: unknown): Uint8Array {
  const bytes = body instanceof Uint8Array && body.byteLength > 0 ? body : Buffer.from('null');
  try {
    parseJson(bytes);
  } catch (error) {
    throw new ApiError('MAYFLY_REQUEST_INVALID', `the event is ${(error as Error).message}`);
  }
  return bytes;
}
