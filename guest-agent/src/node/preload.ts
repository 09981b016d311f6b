/**
 * Loaded before an HTTP server in Node.js that knows nothing of clones. Each clone serves one request, so what Node.js seeds once
 * a process is seeded when a request is there, before any code of the server's sees it; and what the first request would
 * load and compile is done before the server is loaded.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Server } from 'node:http';
import Module from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { newCollector } from './collector.js';
import { compileOnce, compileWhole } from './compilation.js';
import { usePlatform } from './platform.js';
import { installUnique, makeUnique } from './unique.js';

type Emit = (this: Server, ...event: unknown[]) => boolean;

const emit = Server.prototype.emit as Emit;
/** Until a server listens. */
let listening: (() => void) | undefined;

installUnique();
Server.prototype.emit = function (this: Server, ...event: unknown[]): boolean {
  if (event[0] === 'listening') listening?.();
  if (event[0] !== 'request') return emit.apply(this, event);
  const hooks = makeUnique(randomBytes(32).toString('base64'), generation());
  if (!hooks) return emit.apply(this, event);
  hooks.then(() => emit.apply(this, event));
  return true;
};
if (isMainThread) prepareBeforeMain();

function generation(): string {
  try {
    return readFileSync('/dev/generation', 'utf8').trim();
  } catch {
    return ''; // no guest
  }
}

/** The program starts when the platform was used, an answer to a request of our own through the server above included. */
function prepareBeforeMain(): void {
  const collect = newCollector();
  const loader = Module as unknown as { runMain(...main: unknown[]): void };
  const { runMain } = loader;
  loader.runMain = (...main) => {
    const used = compileOnce();
    usePlatform().then(() => {
      used();
      collect();
      setImmediate(() => start(() => runMain.apply(loader, main)));
    });
  };

  function start(main: () => void): void {
    const loaded = compileWhole();
    listening = () => {
      listening = undefined;
      loaded();
      setImmediate(() => collect({ type: 'minor' }));
    };
    main();
  }
}
