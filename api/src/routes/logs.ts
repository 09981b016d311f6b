/** /v1/functions/{name}/logs */
import { Readable } from 'node:stream';
import { FunctionLogs, LogEntry, LogQuery } from '@mayfly/protocol/api';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { ApiError } from '../errors.js';
import type { FunctionLog, LogSelection } from '../function-log.js';
import type { Registry } from '../registry.js';
import { errors, NameParams, NDJSON } from './schemas.js';

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const response = {
  200: {
    description:
      'oldest first; with follow, or where the client accepts it, as one LogEntry a line',
    content: { 'application/json': { schema: FunctionLogs }, [NDJSON]: { schema: LogEntry } },
  },
  ...errors,
};

export function logRoutes(app: FastifyInstance, registry: Registry): void {
  const closing = new AbortController();
  app.addHook('preClose', async () => closing.abort());

  app.get<NameParams & { Querystring: LogQuery }>(
    '/v1/functions/:name/logs',
    {
      schema: {
        tags: ['logs'],
        operationId: 'logs',
        summary: 'Read console lines',
        params: NameParams,
        querystring: LogQuery,
        response,
      },
    },
    ({ params, query, headers }, reply) => {
      const { log, removed } = registry.get(params.name);
      const { follow = false, since, ...rest } = query;
      const selection = { ...rest, since: since === undefined ? undefined : sinceMs(since) };
      if (!follow && !headers.accept?.includes(NDJSON)) {
        return { logs: log.select(selection), dropped: log.dropped };
      }
      const end = AbortSignal.any([closed(reply), closing.signal, removed.signal]);
      if (!follow) return sendLines(reply, once(log, selection));
      return sendLines(reply, following(log, selection, end));
    },
  );
}

function sendLines(reply: FastifyReply, lines: AsyncGenerator<string>): FastifyReply {
  // The client learns at once that it was understood, even if no line comes for a while.
  setImmediate(() => reply.raw.flushHeaders());
  return reply.type(NDJSON).send(Readable.from(lines));
}

async function* once(log: FunctionLog, selection: LogSelection): AsyncGenerator<string> {
  const lines = ndjson(log.select(selection));
  if (lines !== '') yield lines;
}

/** A reader that is too slow misses what was dropped meanwhile: then sequences have a gap. */
async function* following(
  log: FunctionLog,
  selection: LogSelection,
  end: AbortSignal,
): AsyncGenerator<string> {
  let after = log.last;
  yield* once(log, selection);
  for (;;) {
    await log.moreThan(after, end);
    if (end.aborted) return;
    const from = Math.max(after, selection.after ?? 0);
    after = log.last;
    yield* once(log, { ...selection, after: from, limit: Number.POSITIVE_INFINITY });
  }
}

function ndjson(entries: LogEntry[]): string {
  return entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
}

function closed(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => controller.abort());
  return controller.signal;
}

/** @throws ApiError MAYFLY_REQUEST_INVALID */
const TIMES = 'milliseconds since 1970, one like 2026-01-31T12:00Z, or how long ago, like 10m';

function sinceMs(text: string): number {
  const [, digits, unit] = /^(\d+)(ms|s|m|h|d)?$/.exec(text) ?? [];
  if (digits !== undefined) {
    return unit === undefined
      ? Number(digits)
      : Date.now() - Number(digits) * UNITS[unit as keyof typeof UNITS];
  }
  const time = /^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  throw new ApiError('MAYFLY_REQUEST_INVALID', `since: "${text}" is no time: ${TIMES}`);
}
