/**
 * kill -9 at any moment, over HTTP: what was acknowledged is there after the next start, nothing half is listed, and an event
 * that was accepted runs, at most once in each life of the server, or its record says why it did not.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import type {
  EnvironmentInfo,
  FunctionList,
  InvocationRecord,
  VersionList,
} from '@mayfly/protocol/api';
import t from 'tap';
import { spawnServer, startChild } from './child-server.js';

const SERVER = fileURLToPath(new URL('crash-server.js', import.meta.url));
const NAMES = ['a', 'b', 'c'];
/** When each life ends: so long after so many answers; or, without answers, after its process began. */
const LIVES: { answers?: number; ms: number }[] = [
  { answers: 20, ms: 3 },
  { ms: 350 },
  { answers: 0, ms: 1 },
  { answers: 60, ms: 0 },
  { answers: 7, ms: 11 },
];

/** A function as the API tells of it. */
interface State {
  /** By number, oldest first: the mark in the source. */
  versions: [number: number, mark: string][];
  current: number;
  variables: Record<string, string>;
  secrets: Record<string, string>;
}

interface Change {
  method: string;
  path: string;
  body?: object;
  accept?: string;
  /** What the function is when it is done. */
  after: State | undefined;
}

/** What has happened to a name, as far as the client knows. */
interface Lane {
  name: string;
  state: State | undefined;
  /** Asked for, not acknowledged. */
  open: Change | undefined;
}

let mark = 0;
let event = 0;
let answers = 0;

/** Not run, only kept. Some fit into a page of the database, some do not; programs with HTTP get variables when they boot. */
function source(name: string, text: string): object {
  if (name === 'c') {
    return { runtime: 'http', command: ['node', 'server.js'], files: { 'server.js': text } };
  }
  const module = Buffer.concat([
    Buffer.from(`\0asm\x01\0\0\0${text} `, 'latin1'),
    Buffer.alloc((mark % 3) * 100_000),
  ]);
  return { runtime: 'wasm', files: { 'f.wasm': { base64: module.toString('base64') } } };
}

/** The next change, of a kind that `n` chooses. */
function nextChange({ name, state }: Lane, n: number): Change {
  const path = `/v1/functions/${name}`;
  if (!state || n < 4) {
    const text = `mark-${++mark}`;
    const { versions = [], ...rest } = state ?? { variables: {}, secrets: {} };
    const current = (versions.at(-1)?.[0] ?? 0) + 1;
    const after = {
      ...rest,
      versions: [...versions, [current, text] as [number, string]],
      current,
    };
    const body = source(name, text);
    return { method: 'PUT', path, body, after, ...(n % 2 && { accept: 'application/x-ndjson' }) };
  }
  if (n < 6) {
    const [version] = state.versions[n % state.versions.length] as [number, string];
    return {
      method: 'POST',
      path: `${path}/rollback`,
      body: { version },
      after: { ...state, current: version },
    };
  }
  if (n === 9) return { method: 'DELETE', path, after: undefined };
  const value = String(++mark);
  if (n === 8) {
    const body = { variables: { PUT: value }, secrets: { SECRET: value } };
    return { method: 'PUT', path: `${path}/env`, body, after: { ...state, ...body } };
  }
  return {
    method: 'PATCH',
    path: `${path}/env`,
    body: { variables: { PATCHED: value, PUT: null } },
    after: { ...state, variables: { PATCHED: value } },
  };
}

/** Makes changes, one after the other, until the server is gone. */
async function changes(url: string, lane: Lane): Promise<void> {
  for (;;) {
    const change = nextChange(lane, Math.floor(Math.random() * 10));
    const { method, path, body, accept } = change;
    lane.open = change;
    const answer = await fetch(url + path, {
      method,
      headers: { 'content-type': 'application/json', ...(accept && { accept }) },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    const isDone = accept ? text.includes('"function":') : answer.ok;
    if (!isDone) throw new Refused(`${method} ${path}: ${answer.status} ${text}`);
    lane.state = change.after;
    lane.open = undefined;
    answers++;
  }
}

class Refused extends Error {}

/** Posts events until the server is gone; `accepted`: by the ids of their records. */
async function events(url: string, accepted: Map<string, number>): Promise<void> {
  for (;;) {
    const n = ++event;
    const path = `/v1/functions/${NAMES[n % NAMES.length]}/invocations?async=true`;
    const answer = await fetch(url + path, { method: 'POST', body: String(n) });
    const { id } = (await answer.json()) as { id: string };
    answers++;
    if (answer.status === 202) accepted.set(id, n);
    else if (answer.status !== 404) throw new Refused(`${path}: ${answer.status}`);
  }
}

async function get<T>(url: string, path: string): Promise<T> {
  const answer = await fetch(url + path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as T;
}

/** All functions, by name, with the source of each version and the secrets as an invocation sees them. */
async function observed(url: string): Promise<Map<string, State>> {
  const { functions } = await get<FunctionList>(url, '/v1/functions');
  const states = functions.map(async ({ name, version: current }) => {
    const { versions } = await get<VersionList>(url, `/v1/functions/${name}/versions`);
    const { variables } = await get<EnvironmentInfo>(url, `/v1/functions/${name}/env`);
    const told = versions.reverse().map(async ({ version }) => {
      type Told = { mark: string; env: Record<string, string> };
      return [version, await get<Told>(url, `/fn/${name}@${version}`)] as const;
    });
    const all = await Promise.all(told);
    const { SECRET } = all[0]?.[1].env ?? {};
    const state: State = {
      versions: all.map(([version, { mark }]) => [version, mark]),
      current,
      variables,
      secrets: SECRET === undefined ? {} : { SECRET },
    };
    return [name, state] as const;
  });
  return new Map(await Promise.all(states));
}

async function ended(url: string, id: string): Promise<InvocationRecord> {
  for (let tries = 0; tries < 600; tries++) {
    const record = await get<InvocationRecord>(url, `/v1/invocations/${id}`);
    if (record.endedAt) return record;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${id} does not end`);
}

/** Has each lane be what the server says that it is. @throws Error where that is neither before nor after its last change */
async function settle(url: string, lanes: Lane[]): Promise<void> {
  const found = await observed(url);
  for (const lane of lanes) {
    const seen = found.get(lane.name);
    const allowed = lane.open ? [lane.state, lane.open.after] : [lane.state];
    if (!allowed.some((one) => isDeepStrictEqual(one, seen))) {
      throw new Error(`${lane.name} is lost: ${JSON.stringify({ allowed, seen })}`);
    }
    lane.state = seen;
    lane.open = undefined;
  }
}

t.test('kill -9 loses nothing that was acknowledged', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-crash-'));
  t.teardown(async () => rmSync(dataDir, { recursive: true, force: true }));
  const begun = join(dataDir, 'begun');
  writeFileSync(begun, '');
  const lanes: Lane[] = NAMES.map((name) => ({ name, state: undefined, open: undefined }));
  const accepted = new Map<string, number>();
  let interrupted = 0;
  for (const [life, { answers: wanted, ms }] of LIVES.entries()) {
    const server = spawnServer(t, SERVER, dataDir, begun, String(life));
    if (wanted === undefined) {
      await pause(ms);
      await server.kill();
      continue;
    }
    const url = await server.url;
    await settle(url, lanes);
    const before = answers;
    const traffic = Promise.allSettled([
      ...lanes.map((lane) => changes(url, lane)),
      events(url, accepted),
    ]);
    for (let tries = 0; answers - before < wanted && tries < 500; tries++) await pause(10);
    await pause(ms);
    await server.kill();
    for (const outcome of await traffic) {
      if (outcome.status === 'rejected' && outcome.reason instanceof Refused) throw outcome.reason;
    }
    interrupted += lanes.filter(({ open }) => open).length;
  }
  t.comment(`${mark} changes, ${interrupted} interrupted; ${accepted.size} events accepted`);
  t.ok(interrupted > 0, 'some changes were under way');
  t.ok(accepted.size > 0, 'events were accepted');

  const last = await startChild(t, SERVER, dataDir, begun, 'last');
  await settle(last.url, lanes);
  const records = await Promise.all([...accepted.keys()].map((id) => ended(last.url, id)));
  for (const { id, status, result, error } of records) {
    if (status === 'succeeded') t.equal(result, accepted.get(id));
    else t.match(error?.code, /^MAYFLY_(FUNCTION|VERSION)_UNKNOWN$/);
  }
  const begins = readFileSync(begun, 'utf8').trimEnd().split('\n');
  t.equal(new Set(begins).size, begins.length, 'none began twice in one life of the server');
  await last.kill('SIGTERM');

  const after = await startChild(t, SERVER, dataDir, begun, 'after');
  await settle(after.url, lanes);
  const again = await Promise.all([...accepted.keys()].map((id) => ended(after.url, id)));
  t.same(again, records, 'what ended stays as it ended');
  t.equal(readFileSync(begun, 'utf8').trimEnd().split('\n').length, begins.length);
  await after.kill();
});

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
