/** A deployment as lines of JSON: its steps as they begin, then how it ended. */
import { statSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import type { DeploymentLine, FunctionInfo } from '@mayfly/protocol/api';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { OnStep } from '../templates.js';
import { answerTo } from './errors.js';
import { NDJSON } from './schemas.js';

/** The status is 200 before it is known how it ends: the last line tells. A client that leaves does not end it. */
export function sendProgress(
  request: FastifyRequest,
  reply: FastifyReply,
  deploy: (onStep: OnStep) => Promise<FunctionInfo>,
): FastifyReply {
  const lines = new PassThrough();
  const started = performance.now();
  const tell = (line: DeploymentLine) => lines.write(`${JSON.stringify(line)}\n`);
  const onStep: OnStep = (step, images) => {
    const ms = Math.round(performance.now() - started);
    tell({ step, ms, ...(images && { imageBytes: bytesOf(images) }) });
  };
  const failed = (error: unknown) => {
    const { body, status } = answerTo(error, request, reply);
    tell({ error: body, status });
  };
  deploy(onStep)
    .then((info) => tell({ function: info }), failed)
    .finally(() => lines.end());
  // The first line may wait for another deployment of the name.
  setImmediate(() => reply.raw.flushHeaders());
  return reply.type(NDJSON).send(lines);
}

function bytesOf(images: readonly string[]): number {
  const sizes = images.map((path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0);
  return sizes.reduce((sum, size) => sum + size, 0);
}
