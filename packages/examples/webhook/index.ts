/**
 * Takes GitHub's webhooks, and nobody else's: the body is signed with a secret that both sides know
 * (X-Hub-Signature-256: sha256=, HMAC-SHA-256 of the body in hex).
 *
 * The secret is an environment variable, WEBHOOK_SECRET. It is read when a request is there: a template holds no secrets.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

interface Env {
  WEBHOOK_SECRET?: string;
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const secret = env.WEBHOOK_SECRET ?? process.env.WEBHOOK_SECRET;
    if (!secret) return answer(500, { error: 'WEBHOOK_SECRET is not set' });
    const body = new Uint8Array(await request.arrayBuffer());
    if (!isSigned(body, request.headers.get('x-hub-signature-256'), secret)) {
      console.warn('refused a delivery that is not signed with our secret');
      return answer(401, { error: 'the signature is missing or wrong' });
    }
    return deliver(request.headers.get('x-github-event') ?? '', body);
  },
};

/** In constant time, so that answers do not tell how much of a guess was right. */
function isSigned(body: Uint8Array, signature: string | null, secret: string): boolean {
  const [, hex] = /^sha256=([0-9a-f]{64})$/.exec(signature ?? '') ?? [];
  if (hex === undefined) return false;
  return timingSafeEqual(
    Buffer.from(hex, 'hex'),
    createHmac('sha256', secret).update(body).digest(),
  );
}

function deliver(event: string, body: Uint8Array): Response {
  let payload: { repository?: { full_name?: string }; ref?: string };
  try {
    payload = JSON.parse(Buffer.from(body).toString());
  } catch {
    return answer(400, { error: 'the body is not JSON' });
  }
  const repository = payload.repository?.full_name ?? 'nowhere';
  console.log(`${event} in ${repository}`);
  return answer(202, { accepted: event, repository, ref: payload.ref });
}

function answer(status: number, body: object): Response {
  return Response.json(body, { status });
}
