/** What programs in JavaScript and Python use of their runtimes does in a guest what it does here. */
import t from 'tap';
import { runHere, runInGuest, sameOutcome } from './guest.js';

const MEMORY_BYTES = 1 << 30;
/** Nothing here waits for more than a second; slow hosts do. */
const TIMEOUT_MS = 600_000;

const node = {
  'timers, promises, files, zlib, crypto': `
    const fs = require('fs'), zlib = require('zlib'), crypto = require('crypto');
    const order = [];
    setTimeout(() => order.push('timer'), 5);
    setImmediate(() => order.push('immediate'));
    process.nextTick(() => order.push('tick'));
    Promise.resolve().then(() => order.push('promise'));
    (async () => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      const folder = fs.mkdtempSync('/tmp/languages-');
      await fs.promises.writeFile(folder + '/a', 'abc'.repeat(100_000));
      fs.renameSync(folder + '/a', folder + '/b');
      fs.createReadStream(folder + '/b').pipe(zlib.createGzip()).pipe(fs.createWriteStream(folder + '/c')).on('finish', () => {
        const text = zlib.gunzipSync(fs.readFileSync(folder + '/c'));
        console.log(order.join(), fs.readdirSync(folder).join(), text.length);
        console.log(crypto.createHash('sha512').update(text).digest('hex'));
        crypto.pbkdf2('a', 'b', 1000, 32, 'sha256', (_, key) => console.log(key.toString('hex')));
        fs.rmSync(folder, { recursive: true });
      });
    })();`,
  worker_threads: `
    const { Worker } = require('worker_threads');
    const shared = new Int32Array(new SharedArrayBuffer(8));
    const code = \`const { workerData, parentPort } = require('worker_threads');
      for (let i = 0; i < 1000; i++) Atomics.add(workerData, 0, 1);
      Atomics.wait(workerData, 1, 0);
      parentPort.postMessage({ seen: Atomics.load(workerData, 1), map: new Map([[1, 'a']]) });\`;
    const workers = Array.from({ length: 3 }, () => new Worker(code, { eval: true, workerData: shared }));
    let left = workers.length;
    for (const worker of workers) worker.on('message', (m) => { console.log(m); if (--left === 0) console.log(shared[0]); });
    setTimeout(() => { Atomics.store(shared, 1, 7); Atomics.notify(shared, 1); }, 100);`,
  WebAssembly: `
    // (func (export "fac") (param i64) (result i64) ...), by recursion
    const bytes = Buffer.from('0061736d0100000001060160017e017e030201000707010366616300000a' +
      '17011500200050047e42010520002000' + '42017d10007e0b0b', 'hex');
    WebAssembly.instantiate(bytes).then(({ instance }) => console.log(String(instance.exports.fac(20n))), console.error);`,
  'an HTTP server and its clients': `
    const http = require('http'), crypto = require('crypto');
    const server = http.createServer((request, response) => request.pipe(response));
    server.listen(0, '127.0.0.1', async () => {
      const url = 'http://127.0.0.1:' + server.address().port;
      const ask = (i) => new Promise((resolve, reject) => {
        const request = http.request(url, { method: 'POST' }, async (response) => {
          let size = 0;
          for await (const piece of response) size += piece.length;
          resolve(size);
        });
        request.on('error', reject).end(String(i).repeat(10_000));
      });
      const sizes = [];
      for (let i = 0; i < 50; i += 10) sizes.push(...(await Promise.all(Array.from({ length: 10 }, (_, j) => ask(i + j)))));
      const large = crypto.createHash('sha256').update('mayfly'.repeat(300_000)).digest();
      const echoed = await (await fetch(url, { method: 'POST', body: Buffer.alloc(2 ** 21, large) })).arrayBuffer();
      console.log(sizes.join(), crypto.createHash('sha256').update(Buffer.from(echoed)).digest('hex'));
      server.close();
      server.closeAllConnections();
    });`,
  'a heap of 200 MB': `
    const kept = [];
    for (let i = 0; process.memoryUsage().heapUsed < 200 * 2 ** 20; i++)
      for (let j = 0; j < 10_000; j++) kept.push({ name: 'n' + j, list: [i, j] });
    console.log(kept.length > 500_000, kept.every(({ name, list }) => name === 'n' + list[1]));`,
};

const python = {
  'json, hashlib, threading': `
import hashlib, json, threading, queue
lock, total, tasks = threading.Lock(), 0, queue.Queue()
def work():
    global total
    while (task := tasks.get()) is not None:
        with lock:
            total += len(hashlib.sha256(str(task).encode()).hexdigest())
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for task in range(500): tasks.put(task)
for _ in threads: tasks.put(None)
for thread in threads: thread.join()
done = threading.Event()
threading.Timer(0.05, done.set).start()
print(json.dumps({"total": total, "done": done.wait(60)}))`,
  asyncio: `
import asyncio
async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()
async def ask(port, text):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode() + b"\\n")
    answer = await reader.readline()
    writer.close()
    return answer.decode().strip()
async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(await asyncio.gather(*(ask(port, f"line {i}") for i in range(20))))
    print(await asyncio.to_thread(sum, range(10)))
    try:
        await asyncio.wait_for(asyncio.sleep(60), 0.05)
    except asyncio.TimeoutError:
        print("late")
    server.close()
asyncio.run(main())`,
  'sqlite3 in memory and in a file': `
import os, sqlite3, tempfile
folder = tempfile.mkdtemp()
for place in (":memory:", folder + "/db"):
    db = sqlite3.connect(place)
    with db:
        db.execute("create table t(a integer primary key, b text)")
        db.executemany("insert into t(b) values (?)", [(str(i) * 50,) for i in range(2000)])
    try:
        with db:
            db.execute("delete from t")
            raise ValueError
    except ValueError: pass
    print(db.execute("select count(*), sum(length(b)) from t").fetchone(), db.execute("pragma integrity_check").fetchone())
    db.close()
print(sorted(os.listdir(folder)))
os.unlink(folder + "/db")
os.rmdir(folder)`,
};

for (const [program, flag, scripts] of [
  ['/usr/bin/node', '-e', node],
  ['/usr/bin/python3', '-c', python],
] as const) {
  for (const [name, script] of Object.entries(scripts)) {
    t.test(`${program}: ${name}`, async (t) => {
      const options = { memoryBytes: MEMORY_BYTES, timeoutMs: TIMEOUT_MS };
      const there = await runInGuest(program, [flag, script], options);
      t.equal(there.exitCode, 0);
      sameOutcome(t, there, runHere(program, [flag, script]));
    });
  }
}

t.test('a process is refused, and Python says so', async (t) => {
  const script = 'import subprocess; subprocess.run(["true"])';
  const { exitCode, stderr } = await runInGuest('/usr/bin/python3', ['-c', script], {
    timeoutMs: TIMEOUT_MS,
  });
  t.equal(exitCode, 1);
  t.match(stderr, /OSError: \[Errno 38\] Function not implemented/);
});
