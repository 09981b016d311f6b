import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiError, type ErrorAnswer, errorAnswer } from '../errors.js';
import { tookOf } from '../trace.js';

/** The answer to what was thrown; a defect of Mayfly's is logged, and the client told when to come back. */
export function answerTo(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): ErrorAnswer {
  const answer = errorAnswer(tooLarge(error, request) ?? error);
  if (!answer.expected) request.log.error(error);
  const seconds = error instanceof ApiError ? error.retryAfterSeconds : undefined;
  const took = tookOf(error);
  if (took) request.timing.invocation = took;
  if (seconds !== undefined) reply.header('retry-after', seconds);
  return answer;
}

/** What Fastify refuses without a word of how much may be. */
function tooLarge(error: unknown, { routeOptions }: FastifyRequest): ApiError | undefined {
  if ((error as { code?: string } | undefined)?.code !== 'FST_ERR_CTP_BODY_TOO_LARGE') return;
  const message = `the body of the request has more than ${routeOptions.bodyLimit} bytes`;
  return new ApiError('MAYFLY_BODY_TOO_LARGE', message);
}
