/** The HTTP server: Fastify with raw bodies, one error shape and Server-Timing on every answer. */
import { FRAME_LIMITS } from '@mayfly/protocol';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  LogController,
} from 'fastify';
import { ApiError, errorAnswer } from './errors.js';
import { continueWhenRead, waitsForContinue } from './expectation.js';
import type { Invoker } from './invoker.js';
import type { LaterInvocations } from './later.js';
import { lingerBeforeClose } from './lingering.js';
import { answerOddRequests, misframed, refuseMalformed } from './malformed.js';
import type { Registry } from './registry.js';
import { parseBodies, takeBodiesAsTheyCome } from './routes/bodies.js';
import { environmentRoutes } from './routes/environment.js';
import { answerTo } from './routes/errors.js';
import { functionRoutes } from './routes/functions.js';
import { healthRoutes } from './routes/health.js';
import { INVOCATION_HEADER } from './routes/invocation.js';
import { eventRoutes, recordRoutes } from './routes/invocations.js';
import { invokeRoutes } from './routes/invoke.js';
import { logRoutes } from './routes/logs.js';
import { describeRoutes, descriptionRoutes } from './routes/openapi.js';
import type { Statistics } from './statistics.js';
import type { InvocationStore } from './store/invocations.js';
import { type RequestTiming, serverTiming, startTiming } from './timing.js';
import { schemaController } from './validation.js';

declare module 'fastify' {
  interface FastifyRequest {
    timing: RequestTiming;
  }
}

export interface Services {
  registry: Registry;
  invoker: Invoker;
  later: LaterInvocations;
  invocations: InvocationStore;
  statistics: Statistics;
  /** Aborted when requests should go elsewhere: the server is about to close. */
  onDrain: AbortSignal;
}

export interface ServerOptions {
  logger: FastifyBaseLogger;
  /** For a client to write the headers of a request in. */
  headersMs: number;
  /** For a client to write a whole request in. */
  requestMs: number;
  /** Largest body of a request to a function, in bytes. */
  bodyBytesMax?: number;
}

/** They are never held whole; this only ends what does not end by itself. */
const BODY_BYTES_MAX = 1024 ** 3;

export function buildServer(services: Services, options: ServerOptions): FastifyInstance {
  const app = Fastify({
    loggerInstance: options.logger,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: true,
    return503OnClosing: false, // it has an error of its own; see below
    bodyLimit: FRAME_LIMITS.bodyBytesMax,
    clientErrorHandler: refuseMalformed,
    http: {
      requireHostHeader: false, // Node's refusal has no body; see misframed()
      headersTimeout: options.headersMs,
      connectionsCheckingInterval: options.headersMs / 4,
    },
    requestTimeout: options.requestMs,
    routerOptions: { maxParamLength: 100 },
    schemaController,
    // Refusals before routing run no hooks.
    frameworkErrors: (error, _request, reply: FastifyReply) => {
      const { status, body } = errorAnswer(error);
      reply.header('server-timing', serverTiming(startTiming())).code(status).send(body);
    },
  });
  app.decorateRequest('timing', null as unknown as RequestTiming);
  let closing = false;
  app.addHook('preClose', async () => {
    closing = true;
  });
  app.addHook('onRequest', (request, reply, done) => {
    request.timing = startTiming();
    const refusal = misframed(request.raw);
    if (refusal) reply.header('connection', 'close');
    done(closing ? new ApiError('MAYFLY_SERVER_CLOSING') : refusal);
  });
  app.addHook('onSend', (request, reply, _payload, done) => {
    if (!request.raw.complete) lingerBeforeClose(request.raw.socket);
    if (waitsForContinue(request.raw)) reply.header('connection', 'close');
    const own = reply.getHeader('server-timing');
    const timing = serverTiming(request.timing);
    reply.header('server-timing', own === undefined ? timing : `${own}, ${timing}`);
    const busy = reply.statusCode === 429 || reply.statusCode === 503;
    if (busy && !reply.hasHeader('retry-after')) reply.header('retry-after', '1');
    done();
  });
  app.setErrorHandler((error, request, reply) => {
    const { status, body } = answerTo(error, request, reply);
    const invocation = reply.getHeader(INVOCATION_HEADER) as string | undefined;
    return reply.code(status).send(invocation === undefined ? body : { ...body, invocation });
  });
  takeBodiesAsTheyCome(app); // where there is no route, nobody looks at them
  app.setNotFoundHandler((request) => {
    throw new ApiError('MAYFLY_ROUTE_UNKNOWN', `there is no ${request.method} ${request.url}`);
  });
  answerOddRequests(app.server);
  continueWhenRead(app.server);
  const addRoutes = (to: FastifyInstance) => {
    to.register(async (scope) => {
      parseBodies(scope);
      healthRoutes(scope, services);
      functionRoutes(scope, services);
      environmentRoutes(scope, services.registry);
      recordRoutes(scope, services);
      logRoutes(scope, services.registry);
    });
    to.register(async (scope) => eventRoutes(scope, services));
    to.register(async (scope) => {
      invokeRoutes(scope, services.invoker, options.bodyBytesMax ?? BODY_BYTES_MAX);
    });
  };
  addRoutes(app);
  descriptionRoutes(app, async () => {
    const described = Fastify({ schemaController });
    await describeRoutes(described);
    addRoutes(described);
    return described;
  });
  return app;
}
