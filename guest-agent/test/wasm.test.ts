/** WebAssembly modules in the agent for Node.js. */
import { join } from 'node:path';
import t from 'tap';
import wabt from 'wabt';
import { nodeAgentPath } from '../src/index.js';
import { AgentProcess, COMMON, folderWith } from './agent-process.js';

const vector = (bytes: number[]) => [bytes.length, ...bytes];
const text = (value: string) => vector([...Buffer.from(value)]);
const section = (id: number, items: number[][]) => [id, ...vector([items.length, ...items.flat()])];

const I32 = 0x7f;
const call = (fn: number) => [0x10, fn];
const constant = (value: number) => [0x41, ...signed(value)];

function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7) {
    const last = rest >> 6 === 0 || rest >> 6 === -1;
    bytes.push((rest & 0x7f) | (last ? 0 : 0x80));
    if (last) return bytes;
  }
}

/**
 * A module that copies up to 64 bytes of standard input to standard output; its body ends with `end`. Functions: 0 fd_read,
 * 1 fd_write, 2 proc_exit, 3 the exported one.
 */
function copying(exported: string, end: number[], result: number[]): Buffer {
  const fourI32 = [0x60, ...vector([I32, I32, I32, I32]), ...vector([I32])];
  const oneI32 = [0x60, ...vector([I32]), 0];
  const main = [0x60, 0, ...vector(result)];
  const wasi = (name: string, type: number) => [
    ...text('wasi_snapshot_preview1'),
    ...text(name),
    0,
    type,
  ];
  const store = (at: number, value: number[]) => [...constant(at), ...value, 0x36, 2, 0];
  const body = [
    ...store(0, constant(64)),
    ...store(4, constant(64)),
    ...constant(0),
    ...constant(0),
    ...constant(1),
    ...constant(8),
    ...call(0),
    0x1a,
    ...store(4, [...constant(8), 0x28, 2, 0]),
    ...constant(1),
    ...constant(0),
    ...constant(1),
    ...constant(8),
    ...call(1),
    0x1a,
    ...end,
    0x0b,
  ];
  return Buffer.from([
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    ...section(1, [fourI32, oneI32, main]),
    ...section(2, [wasi('fd_read', 0), wasi('fd_write', 0), wasi('proc_exit', 1)]),
    ...section(3, [[2]]),
    ...section(5, [[0, 1]]),
    ...section(7, [
      [...text('memory'), 2, 0],
      [...text(exported), 0, 3],
    ]),
    ...section(10, [vector([0, ...body])]),
  ]);
}

function start(t: Parameters<typeof folderWith>[0], module: Uint8Array): AgentProcess {
  const folder = folderWith(t, { 'f.wasm': module });
  const command = [process.execPath, '--no-warnings', nodeAgentPath];
  return new AgentProcess(t, command, { MAYFLY_FUNCTION: join(folder, 'f.wasm') });
}

t.test('a command: the body is its input, its output the answer', async (t) => {
  const agent = start(t, copying('_start', [], []));
  t.match((await agent.receive()).head, { type: 'ready' });
  for (const body of ['abc', 'de', '']) {
    const { head, text } = await agent.request('/', { method: 'POST', body });
    t.match(head, {
      type: 'response',
      status: 200,
      headers: [['content-type', 'text/plain; charset=utf-8']],
    });
    t.equal(text, body);
  }
});

/** Copies all of its input to its output, in pieces of up to 64 bytes, or traps once that is longer than `limit`. */
async function pipe(limit = 0x7fffffff): Promise<Uint8Array> {
  const { parseWat } = await wabt();
  const source = `(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 512) "begun\\n")
    (func (export "_start") (local $sum i32)
      (i32.store (i32.const 0) (i32.const 512)) (i32.store (i32.const 4) (i32.const 6))
      (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16)))
      (i32.store (i32.const 0) (i32.const 64))
      (loop $more
        (i32.store (i32.const 4) (i32.const 64))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
        (i32.store (i32.const 4) (i32.load (i32.const 16)))
        (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 4))))
        (if (i32.gt_u (local.get $sum) (i32.const ${limit})) (then (unreachable)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
        (br_if $more (i32.load (i32.const 4))))))`;
  return parseWat('pipe.wat', source).toBinary({}).buffer;
}

t.test('both bodies stream: what waits for input has said what it had to say', async (t) => {
  const agent = start(t, await pipe());
  await agent.receive();
  const url = 'http://h/';
  agent.send({ ...COMMON, type: 'request', method: 'POST', url, headers: [], more: true }, 'one ');
  t.match((await agent.receive()).head, {
    ...{ type: 'response', status: 200, more: true },
    headers: [['content-type', 'text/plain; charset=utf-8']],
    logs: [{ level: 'error', text: 'begun' }],
  });
  t.equal((await agent.receive()).text, 'one ');
  for (const piece of ['two ', 'x'.repeat(1000)]) {
    agent.send({ type: 'chunk' }, piece);
    t.equal((await agent.receive()).text, piece);
  }
  agent.send({ type: 'chunk', end: true }, '');
  t.match((await agent.receive()).head, { type: 'chunk', end: true });
  const body = Buffer.alloc(300_000, 'long ');
  const long = await agent.request('/', { method: 'POST', body });
  t.ok(long.body.equals(body), 'a long one comes back as it was');
  t.ok(long.pieces.length > 2 && Math.max(...long.pieces) <= 65_536, 'in pieces');
  t.match(await agent.request('/', { method: 'HEAD', body: 'x' }), {
    head: { status: 200 },
    text: '',
  });
});

t.test('an answer that has begun and fails, and memory that is not there', async (t) => {
  const agent = start(t, await pipe(100_000));
  await agent.receive();
  const failing = agent.request('/', { method: 'POST', body: Buffer.alloc(200_000) });
  await t.rejects(failing, /FUNCTION_THREW/, 'behind its head');
  const { parseWat } = await wabt();
  // The exit code is what fd_read and fd_write say of addresses outside: EFAULT, both.
  const outside = parseWat(
    'outside.wat',
    `(module
      (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "handle") (result i32)
        (i32.store (i32.const 0) (i32.const 65530)) (i32.store (i32.const 4) (i32.const 7))
        (i32.add
          (i32.mul (i32.const 100) (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
          (i32.add
            (call $write (i32.const 1) (i32.const -4) (i32.const 1) (i32.const 16))
            (call $write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 65534))))))`,
  ).toBinary({}).buffer;
  const wrong = start(t, outside);
  await wrong.receive();
  t.match((await wrong.request('/')).head, { code: 'FUNCTION_FAILED', message: /exit code 2142$/ });
});

t.test('a reactor, and modules that fail', async (t) => {
  const reactor = start(t, copying('handle', constant(0), [I32]));
  await reactor.receive();
  t.equal((await reactor.request('/', { method: 'POST', body: 'abc' })).text, 'abc');
  const failing = start(t, copying('handle', constant(5), [I32]));
  await failing.receive();
  t.match((await failing.request('/')).head, { code: 'FUNCTION_FAILED', message: /exit code 5/ });
  const exiting = start(t, copying('_start', [...constant(3), ...call(2)], []));
  await exiting.receive();
  t.match((await exiting.request('/')).head, { code: 'FUNCTION_FAILED', message: /exit code 3/ });
  const trapping = start(t, copying('_start', [0x00], []));
  await trapping.receive();
  t.match((await trapping.request('/')).head, { code: 'FUNCTION_THREW', message: 'unreachable' });
});

t.test('what is no module is refused at the load', async (t) => {
  const failure = async (module: Uint8Array) => (await start(t, module).receive()).head;
  t.match(await failure(Buffer.from('\0asm\x01\0\0\0\x01', 'latin1')), { code: 'FUNCTION_SYNTAX' });
  t.match(await failure(copying('other', [], [])), {
    code: 'FUNCTION_NO_EXPORT',
    message: /exports memory, other; .*_start.*handle/,
  });
  // (module (import "env" "a" (func)) (import "wasi_snapshot_preview1" "sock_open" (func)) (func (export "_start")))
  const importing = Buffer.from(
    '0061736d01000000010401600000022c0203656e760161000016776173695f736e617073686f745f70726576696577310' +
      '9736f636b5f6f70656e000003020100070a01065f737461727400020a040102000b',
    'hex',
  );
  t.match(await failure(importing), {
    code: 'FUNCTION_NO_IMPORT',
    message: /imports env\.a, wasi_snapshot_preview1\.sock_open;/,
  });
});
