import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiError, type ErrorAnswer, errorAnswer } from '../errors.js';
import { tookOf } from '../trace.js';

/** The answer to what was thrown; a defect of Mayfly's is logged, and the client told when to come back. */
export function answerTo(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): ErrorAnswer {
  const answer = errorAnswer(error);
  if (!answer.expected) request.log.error(error);
  const seconds = error instanceof ApiError ? error.retryAfterSeconds : undefined;
  const took = tookOf(error);
  if (took) request.timing.invocation = took;
  if (seconds !== undefined) reply.header('retry-after', seconds);
  return answer;
}
