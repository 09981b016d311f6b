/** Examples that this host runs as plain processes, called as the agents will call them in a guest. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import wabt from 'wabt';
import { type Call, folderOf, temporaryFolder } from './support.js';

type Test = Parameters<typeof temporaryFolder>[0];

/** Runs a program to its end: the request's body is its input, its output the answer; a failure is a 502. */
async function answerOf(child: ChildProcess, input: Uint8Array): Promise<Response> {
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const read = async (stream: NodeJS.ReadableStream | null) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream ?? []) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  };
  child.stdin?.on('error', () => {}); // It may end without having read everything.
  child.stdin?.end(input);
  const [output, errors] = await Promise.all([read(child.stdout), read(child.stderr)]);
  return (await ended) === 0
    ? new Response(new Uint8Array(output))
    : new Response(new Uint8Array(errors), { status: 502 });
}

function calling(command: string, args: string[], cwd: string): Call {
  return async (_path, init) => {
    const input = Buffer.from(await new Response(init?.body ?? '').arrayBuffer());
    return answerOf(spawn(command, args, { cwd, stdio: 'pipe' }), input);
  };
}

/** `def handler(event, context)`, with JSON in and out. */
export async function pythonHost(_t: Test, name: string): Promise<Call> {
  const call =
    'import contextlib, json, sys, main\n' +
    'with contextlib.redirect_stdout(sys.stderr): result = main.handler(json.load(sys.stdin), None)\n' +
    'json.dump(result, sys.stdout)';
  return calling('python3', ['-B', '-c', call], folderOf(name));
}

/** A C file becomes a program. */
export async function nativeHost(t: Test, name: string): Promise<Call> {
  const program = join(temporaryFolder(t), name);
  const source = join(folderOf(name), `${name}.c`);
  const flags = ['-std=c17', '-O2', '-Wall', '-Wextra', '-Werror', '-static'];
  const compiler = spawn('gcc', [...flags, '-o', program, source, '-lm'], { stdio: 'pipe' });
  const compiled = await answerOf(compiler, new Uint8Array());
  if (!compiled.ok) throw new Error(await compiled.text());
  return calling(program, [], folderOf(name));
}

/** Text of WebAssembly becomes a WASI command, which runs in a process of its own. */
export async function wasmHost(t: Test, name: string): Promise<Call> {
  const folder = temporaryFolder(t);
  const text = await readFile(join(folderOf(name), `${name}.wat`), 'utf8');
  const module = (await wabt()).parseWat(`${name}.wat`, text);
  await writeFile(join(folder, `${name}.wasm`), module.toBinary({}).buffer);
  const run =
    "import { readFileSync } from 'node:fs'; import { WASI } from 'node:wasi';" +
    "const wasi = new WASI({ version: 'preview1', returnOnExit: true });" +
    'const module = new WebAssembly.Module(readFileSync(process.argv[1]));' +
    'process.exitCode = wasi.start(new WebAssembly.Instance(module, wasi.getImportObject()));';
  const flags = ['--no-warnings', '--input-type=module', '--eval', run];
  return calling(process.execPath, [...flags, '--', join(folder, `${name}.wasm`)], folder);
}

/** An HTTP server is started once, at any free port, and gets the requests as they are. */
export async function httpHost(t: Test, name: string): Promise<Call> {
  const env = { ...process.env, PORT: '0' };
  const child = spawn(process.execPath, ['server.js'], {
    cwd: folderOf(name),
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill());
  const port = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (line) => resolve(/\d+/.exec(String(line))?.[0] ?? ''));
    child.once('exit', () => reject(new Error('the server ended')));
  });
  return (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init);
}
