/** The greeting of a server that is to be warm: connections to it, its answer, and what is no good one. */
import type { Frame, WarmUpCall } from '@mayfly/protocol';
import t from 'tap';
import { HttpGreeting } from '../../src/dialects/http.js';
import type { Machine, Stop } from '../../src/machine/machine.js';

class FakeStream {
  closed = false;
  written = '';
  onOpen = () => {};
  onData = (_: Uint8Array) => {};
  onEnd = () => {};
  onClose = (_: string) => {};

  write(bytes: Uint8Array): boolean {
    this.written += Buffer.from(bytes).toString();
    return true;
  }

  end(): void {
    this.written += '<end>';
  }

  destroy(): void {
    this.closed = true;
    this.onClose('destroyed');
  }
}

function greeting(warmup: WarmUpCall[] = [], listeningPorts: number[] = []) {
  const streams: FakeStream[] = [];
  const vsock = {
    streams: [] as { hostPort: number }[],
    connect: () => {
      streams.push(new FakeStream());
      return streams.at(-1);
    },
  };
  const devices = { vsock, console: { endInput: () => {} } };
  const machine = { devices, shared: { listeningPorts } } as unknown as Machine;
  const greeting = new HttpGreeting(machine, { port: 80, warmup }, () => []);
  return { greeting, streams, out: vsock.streams };
}

const idle = (deadline?: bigint) => ({ kind: 'idle', deadline }) as unknown as Stop;

const get = (path: string): WarmUpCall => {
  const url = `http://localhost${path}`;
  const headers: [string, string][] = [['host', 'localhost']];
  return { head: { type: 'request', method: 'GET', url, headers }, body: '' };
};

/** A greeting whose server has got the request that warms it up. */
function warming(path: string, ...more: WarmUpCall[]) {
  const { greeting: greets, streams } = greeting([get(path), ...more]);
  t.equal(greets.look(idle()), 'enter');
  streams[0]?.onOpen();
  t.equal(greets.look(idle()), 'enter');
  return { greets, streams, first: streams[0] as FakeStream };
}

const answer = (stream: FakeStream, text: string) => stream.onData(Buffer.from(text));

t.test('without a warmup the first connection is the template’s', async (t) => {
  const { greeting: greets, streams } = greeting();
  t.equal(greets.look(idle()), 'enter');
  streams[0]?.onOpen();
  t.match(greets.look(idle()), { type: 'ready' });
  t.equal(streams[0]?.written, '');
});

t.test('a server is asked again once it waits for nothing but input', async (t) => {
  const late = greeting();
  t.equal(late.greeting.look(idle()), 'enter');
  late.streams[0]?.onClose('refused');
  t.equal(late.greeting.look(idle(1n)), 'wait', 'it has something to do');
  t.equal(late.greeting.look(idle()), 'enter', 'it may listen by now');
  t.equal(late.streams.length, 2);
  late.streams[1]?.onOpen();
  t.match(late.greeting.look(idle()), { type: 'ready' });
  const deaf = greeting();
  t.equal(deaf.greeting.look(idle()), 'enter');
  deaf.streams[0]?.onClose('refused');
  t.equal(deaf.greeting.look(idle()), 'enter');
  deaf.streams[1]?.onClose('refused');
  t.throws(() => deaf.greeting.look(idle()), { code: 'MAYFLY_BOOT_FAILED' });
  t.equal(deaf.streams.length, 2);
});

t.test('the server answers on a connection that ends, and is ready on another one', async (t) => {
  const { greets, streams, first } = warming('/a?b=c');
  t.match(
    first.written,
    /^GET \/a\?b=c HTTP\/1\.1\r\nhost: localhost\r\n(.*\r\n)*connection: close\r\n\r\n$/,
  );
  t.equal(greets.look(idle(1n)), 'wait');
  answer(first, 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab');
  t.equal(greets.look(idle(1n)), 'wait');
  answer(first, 'cde');
  t.match(first.written, /<end>$/);
  t.equal(greets.look(idle()), 'enter');
  t.equal(first.closed, true, 'a server that keeps it is reset');
  t.equal(streams.length, 2);
  t.equal(greets.look(idle(1n)), 'wait');
  streams[1]?.onOpen();
  t.match(greets.look(idle()) as Frame['head'], { type: 'ready', exports: 'http' });
  t.equal(streams[1]?.written, '');
});

t.test('each call has a connection of its own', async (t) => {
  const head = { ...get('/p').head, method: 'PUT' } as WarmUpCall['head'];
  const event: WarmUpCall = { head: { type: 'event' }, body: '{"a":1}' };
  const { greets, streams } = warming('/', { head, body: 'text' }, event);
  for (const [at, expected] of [
    [0, /^GET \/ HTTP/],
    [1, /^PUT \/p HTTP\/1\.1\r\n(.*\r\n)*content-length: 4\r\n\r\ntext$/],
    [
      2,
      /^POST \/ HTTP\/1\.1\r\n(.*\r\n)*content-type: application\/json\r\n(.*\r\n)*\r\n\{"a":1\}$/,
    ],
  ] as const) {
    const stream = streams[at] as FakeStream;
    t.match(stream.written, expected);
    answer(stream, 'HTTP/1.1 204 No Content\r\n\r\n');
    t.equal(greets.look(idle()), 'enter');
    streams[at + 1]?.onOpen();
    if (at < 2) t.equal(greets.look(idle()), 'enter');
  }
  t.match(greets.look(idle()) as Frame['head'], { type: 'ready' });
  t.equal(streams.length, 4);
  t.equal(streams[3]?.written, '');
});

t.test('a server that listens on another port is told which', async (t) => {
  const missing = (ports: number[]) => greeting([], ports).greeting.missing;
  t.equal(missing([]), 'the program does not listen on port 80');
  t.match(
    missing([3000]),
    /^the program does not listen on port 80 but on port 3000: set "port": 3000 in/,
  );
  t.match(missing([81, 443]), /but on ports 81, 443: set "port": 81 in/);
});

t.test('a server that waits for the outside before it listens is waited for', async (t) => {
  const { greeting: greets, out } = greeting();
  out.push({ hostPort: 1025 });
  t.equal(greets.look(idle()), 'enter', 'it is asked for a connection');
  t.equal(greets.look(idle()), 'wait');
  out.pop();
  t.throws(() => greets.look(idle()), { code: 'MAYFLY_BOOT_FAILED' });
});

t.test('one that listens elsewhere is given up when its next timer is far', async (t) => {
  const after = (seconds: number) => idle(process.hrtime.bigint() + BigInt(seconds) * 10n ** 9n);
  const refuse = (streams: FakeStream[]) => streams.at(-1)?.onClose('refused');
  for (const [ports, seconds, is] of [
    [[3000], 30, 'given up'],
    [[3000], 1, 'waited for'],
    [[], 30, 'waited for'],
  ] as const) {
    const { greeting: greets, streams } = greeting(undefined, [...ports]);
    t.equal(greets.look(after(seconds)), 'enter');
    refuse(streams);
    if (seconds === 30) {
      t.equal(greets.look(after(seconds)), 'enter', 'it is asked once more');
      refuse(streams);
    }
    const look = () => greets.look(after(seconds));
    if (is === 'waited for') t.equal(look(), 'wait');
    else t.throws(look, { code: 'MAYFLY_BOOT_FAILED', message: /but on port 3000/ });
  }
});

t.test('an answer that ends with its connection', async (t) => {
  const { greets, streams, first } = warming('/');
  answer(first, 'HTTP/1.0 302 Found\r\nlocation: /x\r\n\r\nthere');
  first.onEnd();
  first.closed = true;
  first.onClose('closed');
  t.equal(greets.look(idle()), 'enter');
  t.equal(streams.length, 2);
});

t.test('what is no good answer ends the boot', async (t) => {
  const failed = warming('/w');
  answer(failed.first, 'HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n');
  t.throws(() => failed.greets.look(idle()), {
    code: 'MAYFLY_BOOT_FAILED',
    message: 'GET /w, which is to warm the server up, was answered with 500',
  });
  const silent = warming('/w');
  t.throws(() => silent.greets.look(idle()), {
    code: 'MAYFLY_BOOT_FAILED',
    message: /does not answer GET \/w/,
  });
  t.match(silent.greets.missing, /does not answer GET \/w/);
  const gone = warming('/w');
  gone.first.onClose('reset');
  t.throws(() => gone.greets.look(idle()), { code: 'MAYFLY_HTTP_DAMAGED' });
  const garbage = warming('/w');
  answer(garbage.first, 'SSH-2.0-x\r\n');
  t.throws(() => garbage.greets.look(idle()), { code: 'MAYFLY_HTTP_DAMAGED' });
  const ended = warming('/w');
  t.throws(() => ended.greets.look({ kind: 'exited', status: 256 } as unknown as Stop), {
    message: /exit code 1 before it was warm/,
  });
});
