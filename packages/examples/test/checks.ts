/** What each example must answer, whatever runs it: one check an example, given a way to call it. */
import { createHmac } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import jpeg from 'jpeg-js';
import { PNG } from 'pngjs';
import type t from 'tap';
import type { Call } from './support.js';

type Test = Pick<typeof t, 'equal' | 'match' | 'same' | 'notMatch' | 'ok'>;
export type Check = (t: Test, call: Call) => Promise<void>;

/** The webhook's secret, which the test brings. */
export const SECRET = "It's a Secret to Everybody";

const post = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) => ({
  method: 'POST',
  body,
  headers,
});
const postJson = (body: unknown) =>
  post(JSON.stringify(body), { 'content-type': 'application/json' });

async function jsonApi(t: Test, call: Call): Promise<void> {
  const plan = await call(
    '/loans/plan',
    postJson({ amount: 20_000_000, ratePercent: 6, months: 360 }),
  );
  t.equal(plan.status, 200);
  const { instalment, totalInterest, payments } = (await plan.json()) as {
    instalment: number;
    totalInterest: number;
    payments: { principal: number; balance: number }[];
  };
  // The textbook's 30 years at 6 %: 1199.10 a month for 200,000.
  t.equal(instalment, 119_910);
  t.equal(payments.length, 360);
  t.equal(payments.at(-1)?.balance, 0);
  t.equal(
    payments.reduce((sum, { principal }) => sum + principal, 0),
    20_000_000,
  );
  t.ok(Math.abs(totalInterest - 23_167_639) < 500, `interest ${totalInterest}`);
  const refused = await call('/loans/plan', postJson({ amount: 1, ratePercent: 'six', months: 1 }));
  t.equal(refused.status, 422);
  t.match(await refused.json(), { errors: [{ field: 'ratePercent' }] });
  t.equal((await call('/loans/plan', post('{'))).status, 422);
  t.equal((await call('/nothing')).status, 404);
}

/** Left half red, right half blue; `opaque` false makes the right half a green that cannot be seen. */
function halves(width: number, height: number, opaque = true): Buffer {
  const data = Buffer.alloc(width * height * 4);
  for (let i = 0; i < width * height; i++) {
    const left = i % width < width / 2;
    data.set(left ? [255, 0, 0, 255] : opaque ? [0, 0, 255, 255] : [0, 255, 0, 0], i * 4);
  }
  return data;
}

export const photo = (width: number, height: number) =>
  jpeg.encode({ width, height, data: halves(width, height) }, 95).data;

async function thumbnail(t: Test, call: Call): Promise<void> {
  const large = photo(400, 300);
  const small = await call('/?width=40', post(new Uint8Array(large)));
  t.equal(small.headers.get('content-type'), 'image/jpeg');
  const decoded = jpeg.decode(Buffer.from(await small.arrayBuffer()));
  t.match(decoded, { width: 40, height: 30 });
  const pixel = (x: number) => [...decoded.data.subarray((15 * 40 + x) * 4).subarray(0, 3)];
  const near = (x: number, colour: number[]) =>
    t.ok(
      pixel(x).every((value, i) => Math.abs(value - (colour[i] ?? 0)) < 12),
      `${pixel(x)}`,
    );
  near(5, [255, 0, 0]);
  near(34, [0, 0, 255]);

  const drawing = new PNG({ width: 30, height: 10 });
  halves(30, 10, false).copy(drawing.data);
  const tiny = await call('/?width=3', post(new Uint8Array(PNG.sync.write(drawing))));
  t.equal(tiny.headers.get('content-type'), 'image/png');
  const { width, height, data } = PNG.sync.read(Buffer.from(await tiny.arrayBuffer()));
  t.same([width, height], [3, 1]);
  t.same([...data], [255, 0, 0, 255, 255, 0, 0, 128, 0, 0, 0, 0]);

  const bomb = PNG.sync.write(drawing);
  bomb.writeUInt32BE(1_000_000, 16);
  for (const [status, path, body] of [
    [415, '/', 'GIF89a'],
    [422, '/', new Uint8Array(bomb)],
    [422, '/', new Uint8Array(large.subarray(0, 200))],
    [400, '/?width=0', new Uint8Array(large)],
  ] as const) {
    t.equal((await call(path, post(body))).status, status);
  }
}

async function markdown(t: Test, call: Call): Promise<void> {
  const text =
    '# Notes & *more*\n\n- one\n- **two**\n\n| a |\n|---|\n| 1 |\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1))\n';
  const answer = await call('/', post(text));
  t.equal(answer.headers.get('content-type'), 'text/html; charset=utf-8');
  const html = await answer.text();
  t.match(html, '<title>Notes &amp; *more*</title>');
  t.match(html, '<h1>Notes &amp; <em>more</em></h1>');
  t.match(html, '<li><strong>two</strong></li>');
  t.match(html, '<td>1</td>');
  t.notMatch(html, /<script|href="javascript/);
  t.match(await (await call('/?title=%3Cb%3E', post(''))).text(), '<title>&lt;b&gt;</title>');
  t.equal((await call('/')).status, 405);
}

async function csvReport(t: Test, call: Call): Promise<void> {
  const sales =
    '\ufeffregion,product,quantity,price\r\nNorth,"Tea, green",10,2.50\r\nSouth,Coffee,3,9.99\r\nNorth,Coffee,1,9.99\r\n';
  const answer = await call('/', post(sales));
  t.equal(answer.headers.get('content-type'), 'text/csv; charset=utf-8');
  t.same(parse(await answer.text(), { columns: true }), [
    { region: 'North', sales: '2', quantity: '11', revenue: '34.99', best: 'Tea, green' },
    { region: 'South', sales: '1', quantity: '3', revenue: '29.97', best: 'Coffee' },
  ]);
  for (const [body, why] of [
    ['region,product,quantity,price\nNorth,Tea,many,1\n', /row 1: quantity is "many"/],
    ['region,product\n"North', /Quote/],
  ] as const) {
    const refused = await call('/', post(body));
    t.equal(refused.status, 422);
    t.match(await refused.text(), why);
  }
}

async function webhook(t: Test, call: Call): Promise<void> {
  const body = '{"ref":"refs/heads/main","repository":{"full_name":"a/b"}}';
  const sign = (text: string, secret = SECRET) =>
    `sha256=${createHmac('sha256', secret).update(text).digest('hex')}`;
  const deliver = (text: string, signature?: string) =>
    call(
      '/',
      post(text, {
        'x-github-event': 'push',
        ...(signature && { 'x-hub-signature-256': signature }),
      }),
    );
  // The example of GitHub's own documentation.
  t.equal(
    sign('Hello, World!'),
    'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17',
  );
  const accepted = await deliver(body, sign(body));
  t.equal(accepted.status, 202);
  t.same(await accepted.json(), { accepted: 'push', repository: 'a/b', ref: 'refs/heads/main' });
  for (const signature of [undefined, 'sha256=00', sign(body, 'guess'), sign(`${body} `)]) {
    t.equal((await deliver(body, signature)).status, 401, String(signature));
  }
  t.equal((await deliver('{', sign('{'))).status, 400);
}

const LOG = `10.0.0.1 - - [10/Oct/2026:13:55:36 +0000] "GET /a?x=1 HTTP/1.1" 200 1000 "-" "curl/8"
10.0.0.2 - ann [10/Oct/2026:13:59:01 +0000] "GET /a HTTP/1.1" 304 -
10.0.0.1 - - [10/Oct/2026:14:00:00 +0000] "POST /b HTTP/1.1" 502 200 "-" "x"
this is no request
`;

async function dataJob(t: Test, call: Call): Promise<void> {
  const answer = await call('/', postJson({ log: LOG, top: 1 }));
  t.equal(answer.status, 200);
  t.same(await answer.json(), {
    requests: 3,
    unreadable: 1,
    clients: 2,
    statuses: { 200: 1, 304: 1, 502: 1 },
    errorsByPath: { '/b': 1 },
    top: [{ path: '/a', requests: 2 }],
    bytes: { total: 1200, median: 200 },
    perHour: { '2026-10-10T13': 2, '2026-10-10T14': 1 },
  });
}

async function expressApp(t: Test, call: Call): Promise<void> {
  t.match(await (await call('/')).text(), /<form/);
  t.same(await (await call('/convert/km-mi/42.195')).json(), { value: 26.2188 });
  const greeted = await call('/greet', postJson({ name: 'Zoë' }));
  t.equal(greeted.headers.get('x-greeted'), 'Zo%C3%AB');
  t.same(await greeted.json(), { hello: 'Zoë' });
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  t.same(await (await call('/greet', post('name=a+b', form))).json(), { hello: 'a b' });
  t.equal((await call('/greet', postJson({}))).status, 400);
  t.equal((await call('/convert/km-mi/x')).status, 404);
}

async function checksum(t: Test, call: Call): Promise<void> {
  t.equal(await (await call('/', post('123456789'))).text(), 'cbf43926\n'); // the check value of the CRC catalogue
  t.equal(await (await call('/', post(''))).text(), '00000000\n');
  const long = Uint8Array.from({ length: 200_000 }, (_, i) => i * i);
  t.equal(
    await (await call('/', post(long))).text(),
    `${crc32(long).toString(16).padStart(8, '0')}\n`,
  );
}

async function track(t: Test, call: Call): Promise<void> {
  const route = '48.8566,2.3522,35\n51.5074,-0.1278,11\r\n55.9533,-3.1883,47\n';
  const answer = (await (await call('/', post(route))).json()) as Record<string, number>;
  t.match(answer, { points: 3, climbMetres: 36 });
  // Paris to London 343.6 km, London to Edinburgh 533.6 km.
  t.ok(Math.abs((answer.kilometres ?? 0) - 877.2) < 1, `${answer.kilometres} km`);
  t.same(await (await call('/', post(''))).json(), { points: 0, kilometres: 0, climbMetres: 0 });
  for (const bad of ['91,0\n', '1;2\n', '1,2,3,4\n', 'nan,1\n']) {
    t.ok((await call('/', post(bad))).status >= 500, bad);
  }
}

/** By the name of the example's folder. */
export const CHECKS: Readonly<Record<string, Check>> = Object.freeze({
  'json-api': jsonApi,
  thumbnail,
  markdown,
  'csv-report': csvReport,
  webhook,
  'data-job': dataJob,
  'express-app': expressApp,
  checksum,
  track,
});
