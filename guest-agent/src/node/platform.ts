/**
 * Before anything of the function's is loaded: use once what functions use of Node.js. What is used for the first time is
 * compiled, loaded, or read from ICU's data, and a clone uses everything for the first time: without this, each request
 * pays 25 ms for its first number in the words of a language, and 40 for its first fetch.
 */
import crypto from 'node:crypto';
import dns from 'node:dns';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import querystring from 'node:querystring';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { StringDecoder } from 'node:string_decoder';
import { createSecureContext } from 'node:tls';
import url from 'node:url';
import { inspect, promisify } from 'node:util';
import zlib from 'node:zlib';

type Use = () => unknown;

/** An exchange with ourselves is done long before; a guest whose loopback is out of order must boot nevertheless. */
const EXCHANGE_MS = 5000;

const bytes = Buffer.from('mayfly');
const key = Buffer.alloc(32);

const language: Use[] = [
  () => new Date().toISOString(),
  () => String(new Date()),
  () => new Date().getHours(),
  () => new Date().toUTCString(),
  () => Date.parse('2000-01-02 03:04'),
  () => new Date().toLocaleString(),
  () => new Intl.DateTimeFormat('en', { timeZone: 'UTC', dateStyle: 'long' }).format(),
  () => (1234.5).toLocaleString(),
  () => new Intl.NumberFormat('en', { style: 'currency', currency: 'USD' }).format(1),
  () => new Intl.PluralRules('en').select(1),
  () => new Intl.RelativeTimeFormat('en').format(1, 'day'),
  () => [...new Intl.Segmenter('en').segment('a b')],
  () => 'a'.localeCompare('b'),
  () => 'a'.toLocaleUpperCase(),
  () => '\u00e9'.normalize('NFD'),
  () => /\p{L}+/u.exec('a'),
  () => structuredClone({ a: new Map([[1, [2]]]) }),
  () => String(2n ** 100n),
];

const web: Use[] = [
  () => new URL('http://b\u00fccher.example/a?b=c').searchParams.get('b'),
  () => [...new URLSearchParams({ a: 'b' })].toString(),
  () => new TextDecoder().decode(new TextEncoder().encode('a')),
  () => atob(btoa('a')),
  () => [...new Headers([['a', 'b']])],
  () => new Request('http://localhost/', { method: 'POST', body: '{}' }).json(),
  () => Response.json({}).json(),
  () => new Request('http://localhost/', { method: 'POST', body: bytes }).arrayBuffer(),
  () => Response.redirect('http://localhost/', 302),
  () => new Response(new ReadableStream({ start: (c) => c.close() })).text(),
  () => new Response(new Blob(['a']).stream().pipeThrough(new TransformStream())).text(),
  () => new Response(new URLSearchParams({ a: 'b' })).formData(),
  () => new Response(formOf('a', 'b')).text(),
  () => AbortSignal.any([new AbortController().signal, AbortSignal.timeout(0)]).aborted,
  () => crypto.subtle.digest('SHA-256', bytes),
  signed,
  () => performance.now(),
];

const node: Use[] = [
  exchange, // First: its clients leave a timer, which has most likely run when the template is made.
  () => Buffer.concat([Buffer.from('YQ', 'base64url'), Buffer.alloc(1)]).toString('hex'),
  () => crypto.createHash('sha256').update(bytes).digest('hex'),
  () => crypto.createHmac('sha256', key).update(bytes).digest('base64'),
  encrypted,
  () => crypto.timingSafeEqual(key, key),
  () => crypto.randomBytes(16),
  () => crypto.randomUUID(),
  () => crypto.randomInt(10),
  () => zlib.gunzipSync(zlib.gzipSync(bytes)),
  () => promisify(zlib.gzip)(bytes),
  () =>
    promisify(zlib.brotliCompress)(bytes, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } }),
  () => new StringDecoder('utf8').end(bytes),
  () => querystring.parse('a=b'),
  () => new (url as unknown as { Url: new () => unknown }).Url(), // what url.parse() gives, without its warning
  () => path.join('a', '..', 'b'),
  () => Buffer.compare(bytes, Buffer.from('00', 'hex')),
  () => bytes.toString('base64url'),
  () => fs.readFileSync('/dev/null'),
  () => fs.readFileSync('/dev/null', 'utf8'),
  () => fs.promises.readFile('/dev/null', 'utf8'),
  () => fs.writeFileSync('/dev/null', ''),
  () => inspect({ a: [new Map([[1, 2]]), new Error('a')] }),
  () => new Promise((resolve) => process.nextTick(resolve)),
  () => twice((resolve) => setImmediate(resolve)),
  () => twice((resolve) => setTimeout(resolve, 1)),
  () => dns.promises.lookup('localhost'),
  () => pipeline(Readable.from(['a']), new PassThrough(), drained),
  () => createSecureContext(),
];

/**
 * Resolves when all was used. What a platform has not, or refuses, is left out: it is the function's to find that out, if it
 * ever uses it.
 */
export async function usePlatform(): Promise<void> {
  for (const use of [...node, ...web, ...language]) {
    try {
      await use();
    } catch {}
  }
}

/** What the event loop does between two callbacks is code as well. */
async function twice(wait: (resolve: (value: unknown) => void) => unknown): Promise<void> {
  await Promise.all([new Promise(wait), new Promise(wait)]);
}

function encrypted(): void {
  const cipher = crypto.createCipheriv('aes-256-gcm', key, bytes);
  cipher.update(bytes);
  cipher.final();
  cipher.getAuthTag();
}

function formOf(name: string, value: string): FormData {
  const form = new FormData();
  form.set(name, value);
  return form;
}

async function signed(): Promise<void> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const imported = await crypto.subtle.importKey('raw', key, algorithm, false, ['sign', 'verify']);
  await crypto.subtle.verify(
    algorithm,
    imported,
    await crypto.subtle.sign('HMAC', imported, bytes),
    bytes,
  );
}

async function drained(all: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of all);
}

/** Server and clients of HTTP, over loopback. Nothing of it is left: no connection, no timer that keeps a function waiting. */
async function exchange(): Promise<void> {
  const server = http.createServer(async (request, response) => {
    if (request.method === 'POST') return request.pipe(response);
    if (request.method === 'PUT') await drained(request.setEncoding('utf8'));
    response.setHeader('content-type', 'text/plain');
    return response.end('a');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const place = `http://127.0.0.1:${port}/`;
  const signal = AbortSignal.timeout(EXCHANGE_MS);
  try {
    await (await fetch(place, { method: 'POST', body: '{}', signal })).json();
    await (await fetch(place, { signal })).text();
    const request = http.request(place, { method: 'PUT', agent: false, signal }).end('{}');
    const [response] = await once(request, 'response');
    await drained(response);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}
