/** The HTTP dialect against Node.js servers of this host: the stream to the guest is a socket. */
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Server } from 'node:net';
import { encodeFrame, type Frame } from '@mayfly/protocol';
import t from 'tap';
import { HttpTalk } from '../../src/dialects/http.js';
import type { Machine } from '../../src/machine/machine.js';

type Test = { teardown(end: () => unknown): void };

interface Exchange {
  send(head: object, body?: string): void;
  frames: Frame[];
  /** Resolves when the answer has ended, with all of its body; rejects when it cannot be completed. */
  answer: Promise<{ status: number; headers: [string, string][]; body: string }>;
}

const REQUEST = { type: 'request', method: 'GET', url: 'http://h/', headers: [] };

/** A talk with the server, over a connection that is there already. */
async function talkTo(t: Test, server: Server): Promise<Exchange> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(socket, 'connect');
  t.teardown(() => {
    socket.destroy();
    server.close();
  });
  const stream = {
    guestPort: 1,
    onData: (_: Uint8Array) => {},
    onEnd: () => {},
    onDrain: () => {},
    onClose: (_: string) => {},
    write: (bytes: Uint8Array) => socket.destroyed || socket.write(bytes),
  };
  const frames: Frame[] = [];
  let settle: (error?: Error) => void = () => {};
  const ended = new Promise<void>((resolve, reject) => {
    settle = (error) => (error ? reject(error) : resolve());
  });
  const machine = { devices: { vsock: { streams: [stream] } } } as unknown as Machine;
  const talk = new HttpTalk(machine, 1, {
    frame: (frame) => {
      frames.push(frame);
      const { type, more, end } = frame.head;
      if (type === 'response' ? more !== true : end === true) settle();
    },
    damaged: settle,
    drained: () => {},
  });
  socket.on('data', (bytes) => {
    stream.onData(bytes);
    talk.turned();
  });
  socket.on('error', () => {});
  socket.on('end', () => stream.onEnd());
  socket.on('close', () => stream.onClose('closed'));
  const answer = ended.then(() => {
    const { status, headers } = (frames[0] as Frame).head as never;
    return { status, headers, body: Buffer.concat(frames.map(({ body }) => body)).toString() };
  });
  answer.catch(() => {});
  const send = (head: object, body = '') => {
    talk.send(encodeFrame(head, Buffer.from(body)));
  };
  return { send, frames, answer };
}

const serve = (t: Test, listener: RequestListener) => talkTo(t, createServer(listener));
const lengthOf = (headers: [string, string][]) =>
  headers.filter(([name]) => name === 'content-length').map(([, value]) => value);

t.test('answers that have no body', async (t) => {
  const listener: RequestListener = ({ url }, response) => {
    if (url === '/head') response.setHeader('content-length', 9);
    else response.statusCode = Number(url?.slice(1));
    response.end();
  };
  for (const status of [204, 205, 304]) {
    const { send, answer } = await serve(t, listener);
    send({ ...REQUEST, url: `http://h/${status}` });
    t.match(await answer, { status, body: '' });
  }
  const { send, answer } = await serve(t, listener);
  send({ ...REQUEST, method: 'HEAD', url: 'http://h/head' });
  const { headers, body } = await answer;
  t.same([lengthOf(headers), body], [['9'], '']);
});

t.test('interim answers, several cookies, chunks and trailers', async (t) => {
  const { send, answer } = await serve(t, (_, response) => {
    response.writeContinue();
    response.writeProcessing();
    response.writeEarlyHints({ link: '</a.css>; rel=preload' });
    response.setHeader('set-cookie', ['a=1', 'b=2']);
    response.setHeader('trailer', 'x-sum');
    response.write('one ');
    response.addTrailers({ 'x-sum': '1' });
    setTimeout(() => response.end('two'), 5);
  });
  send(REQUEST);
  const { status, headers, body } = await answer;
  t.same([status, body], [200, 'one two']);
  t.same(
    headers.filter(([name]) => name === 'set-cookie').map(([, value]) => value),
    ['a=1', 'b=2'],
  );
});

t.test('a server that ends its connection behind the answer, or to end it', async (t) => {
  const closing = await serve(t, (_, response) => {
    response.setHeader('connection', 'close');
    response.end('bye');
  });
  closing.send(REQUEST);
  t.match(await closing.answer, { status: 200, body: 'bye' });
  const old = await serve(t, (_, response) => {
    response.useChunkedEncodingByDefault = false;
    response.write('until ');
    setTimeout(() => response.end('the end'), 5);
  });
  old.send(REQUEST);
  t.match(await old.answer, { status: 200, body: 'until the end' });
});

t.test('a server that answers before it has the request', async (t) => {
  const { send, answer } = await serve(t, (_, response) => {
    response.writeHead(413, { connection: 'close' }).end('too much');
  });
  const head = { ...REQUEST, method: 'POST' };
  send({ ...head, more: true }, 'some');
  t.match(await answer, { status: 413, body: 'too much' });
  for (let i = 0; i < 10; i++) send({ type: 'chunk' }, 'x'.repeat(1000));
  send({ type: 'chunk', end: true });
});

t.test(
  'a request that streams has its length if the client told it, and chunks if not',
  async (t) => {
    const listener: RequestListener = async (request, response) => {
      const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
      let body = '';
      for await (const chunk of request) body += chunk;
      response.end(JSON.stringify({ length, encoding, body }));
    };
    const asked = async (headers: [string, string][]) => {
      const { send, answer } = await serve(t, listener);
      send({ ...REQUEST, method: 'PUT', headers, more: true }, 'one ');
      send({ type: 'chunk' }, 'two ');
      send({ type: 'chunk', end: true }, 'three');
      return JSON.parse((await answer).body);
    };
    const body = 'one two three';
    t.same(await asked([['content-length', '13']]), { length: '13', body });
    t.same(await asked([]), { encoding: 'chunked', body });
    t.same(await asked([['content-length', '+13']]), { encoding: 'chunked', body });
  },
);

t.test('a server that changes the protocol, or breaks off', async (t) => {
  const says = (text: string) =>
    createTcpServer((socket) => {
      socket.once('data', () => socket.end(text));
      socket.on('error', () => {});
    });
  const failure = async (text: string) => {
    const { send, answer } = await talkTo(t, says(text));
    send(REQUEST);
    return answer.then(
      () => 'none',
      (error: Error) => error.message,
    );
  };
  t.match(await failure('HTTP/1.1 101 Switching Protocols\r\n\r\n'), /changed the protocol/);
  t.match(await failure('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf'), /connection ended/);
  t.match(await failure('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na'), /ended/);
  t.match(await failure(''), /connection ended/);
});
