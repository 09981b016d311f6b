/**
 * Loaded before an HTTP server in Node.js that knows nothing of clones: each clone serves one request, so what Node seeds once
 * a process is seeded when a request is there, before any code of the server's sees it.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Server } from 'node:http';
import { installUnique, makeUnique } from './unique.js';

installUnique();
const emit = Server.prototype.emit as (this: Server, ...event: unknown[]) => boolean;
Server.prototype.emit = function (this: Server, ...event: unknown[]): boolean {
  if (event[0] !== 'request') return emit.apply(this, event);
  const hooks = makeUnique(randomBytes(32).toString('base64'), generation());
  if (!hooks) return emit.apply(this, event);
  hooks.then(() => emit.apply(this, event));
  return true;
};

function generation(): string {
  try {
    return readFileSync('/dev/generation', 'utf8').trim();
  } catch {
    return ''; // no guest
  }
}
