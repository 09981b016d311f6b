/**
 * A server that crash.test.ts kills. Its functions are never run: they answer with the mark in their source and with their
 * variables, events with what came. Each event that begins is told in a file, as `LIFE EVENT`.
 */
import { appendFileSync } from 'node:fs';
import { type Layers, startServer } from '../src/index.js';
import { endWithParent } from './child-server.js';
import { MemoryPool, noLayers, response, result } from './memory-pool.js';

endWithParent();
const [dataDir = '', begun = '', life = ''] = process.argv.slice(2);

/** The path of a function's image is the mark. */
const layers: Layers = {
  ...noLayers,
  files: async (files) => {
    const texts = [...files.values()].map(({ bytes }) => Buffer.from(bytes).toString());
    return /mark-\d+/.exec(texts.join())?.[0] ?? 'no mark';
  },
};

const pool = new MemoryPool(async (head, body, _options, { images, env }) => {
  if (head.type !== 'event') {
    const told = { mark: images.at(-1), env: { ...env, ...head.env } };
    return response(200, Buffer.from(JSON.stringify(told)));
  }
  const event = Number(Buffer.from(body as Uint8Array).toString());
  appendFileSync(begun, `${life} ${event}\n`);
  await new Promise((resolve) => setTimeout(resolve, (event % 7) * 5));
  return result(event);
});
const server = await startServer({ port: 0, dataDir, pool, layers, logLevel: 'silent' });
process.once('SIGTERM', async () => {
  await server.close();
  process.exit();
});
process.stdout.write(`${server.url}\n`);
