/** Answers of HTTP servers: any pieces give the same answer, and no bytes of a hostile guest do harm. */
import fc from 'fast-check';
import t from 'tap';
import { HttpAnswer } from '../../src/dialects/http-answer.js';

interface Read {
  status: number;
  headers: [string, string][];
  body: string;
  ended: boolean;
  error?: string;
}

/** Reads an answer that arrives in these pieces; `closed`: then the connection ends. */
function read(pieces: (string | Uint8Array)[], { method = 'GET', closed = false } = {}): Read {
  const result: Read = { status: 0, headers: [], body: '', ended: false };
  const body: Uint8Array[] = [];
  const answer = new HttpAnswer(method, {
    head: (status, headers) => Object.assign(result, { status, headers }),
    body: (piece) => void body.push(piece),
    end: () => {
      t.notOk(result.ended, 'it ends once');
      result.ended = true;
    },
  });
  try {
    for (const piece of pieces) answer.push(Buffer.from(piece as string, 'latin1'));
    if (closed) answer.close();
  } catch (error) {
    t.equal((error as { code?: string }).code, 'MAYFLY_HTTP_DAMAGED');
    result.error = (error as Error).message;
  }
  result.body = Buffer.concat(body).toString('latin1');
  return result;
}

const sized =
  'HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-A:  b c \r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\nhello';
const chunked =
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\ntransfer-encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-trailer: 1\r\n\r\n';

t.test('sized, chunked, until the end, without a body', async (t) => {
  t.same(read([sized]), {
    status: 201,
    headers: [
      ['content-length', '5'],
      ['x-a', 'b c'],
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2'],
    ],
    body: 'hello',
    ended: true,
  });
  t.match(read([chunked]), { status: 200, body: 'abc0123456789', ended: true });
  t.match(read(['HTTP/1.0 200 OK\n\nabc']), { body: 'abc', ended: false });
  t.match(read(['HTTP/1.0 200 OK\r\n\r\nabc'], { closed: true }), { body: 'abc', ended: true });
  t.match(read(['HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n']), { ended: true });
  t.match(read(['HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n'], { method: 'HEAD' }), {
    ended: true,
  });
  t.match(read(['HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1']), {
    body: '',
    ended: true,
  });
});

t.test('in any pieces', async (t) => {
  for (const text of [sized, chunked]) {
    const whole = read([text]);
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 12 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), text.length];
        const pieces = at.slice(1).map((end, i) => text.slice(at[i], end));
        return JSON.stringify(read(pieces)) === JSON.stringify(whole);
      }),
    );
  }
  t.pass();
});

t.test('what is no answer is refused', async (t) => {
  const head = (...lines: string[]) => `${['HTTP/1.1 200 OK', ...lines].join('\r\n')}\r\n\r\n`;
  const te = head('transfer-encoding: chunked');
  for (const [text, why] of [
    ['SSH-2.0-OpenSSH\r\n', /"SSH-2.0-OpenSSH" is no status line/],
    ['HTTP/1.1 099 Low\r\n', /no status line/],
    ['HTTP/2 200\r\n', /no status line/],
    ['HTTP/1.1 101 Switching\r\n\r\n', /changed the protocol/],
    [head('no colon'), /no header/],
    [head('a: b', ' folded'), /no header/],
    [head('a b: c'), /no header/],
    [head('content-length: -5'), /no number/],
    [head('content-length: 5, 5'), /no number/],
    [head('content-length: 9999999999999999'), /no number/],
    [head('content-length: 5', 'content-length: 6'), /two values/],
    [head('transfer-encoding: gzip, chunked'), /unknown/],
    [`${te}-5\r\n`, /without a size/],
    [`${te}zz\r\n`, /without a size/],
    [`${te}ffffffffffffff\r\n`, /without a size/],
    [`${te}2\r\nabc\r\n`, /longer than it says/],
    [`HTTP/1.1 200 ${'x'.repeat(70_000)}`, /more than 65536 bytes/],
    [`${te}${'1'.repeat(70_000)}`, /more than 65536 bytes/],
    [head(...Array.from({ length: 7000 }, (_, i) => `x-${i}: 12345`)), /more than 65536 bytes/],
  ] as const) {
    t.match(read([text]).error, why);
  }
  for (const text of ['', sized.slice(0, -1), chunked.slice(0, -2), `${te}3\r\nab`]) {
    t.match(read([text], { closed: true }).error, /ended before the answer did/);
  }
});

t.test('no bytes do harm', async (t) => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.constantFrom(
      sized,
      chunked,
      'HTTP/1.1 200 OK\r\n',
      '\r\n',
      '5\r\n',
      '0\r\n\r\n',
      'content-length: 3\r\n',
    ),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 10 }), fc.boolean(), (pieces, closed) => {
      const { ended, error } = read(pieces, { closed });
      return !(ended && error !== undefined);
    }),
    { numRuns: 500 },
  );
  t.pass();
});
