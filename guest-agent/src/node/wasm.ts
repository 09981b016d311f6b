/**
 * A WebAssembly module as a function: a WASI command, which reads the request's body on standard input and writes the answer to
 * standard output, or a reactor, whose `handle()` does. It is compiled, instantiated and, if a reactor, initialised before the
 * template is captured.
 */
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WASI } from 'node:wasi';
import { compileOptimised } from './compilation.js';
import { FunctionError } from './failure.js';
import type { FetchFunction } from './load.js';
import type {} from './webassembly-types.js';

const IMPORTS_NAMED_MAX = 20;

interface Prepared {
  /** Runs it; gives its exit code. */
  run(): number;
  files: { stdin: number; stdout: number; stderr: number };
}

/** @throws FunctionError FUNCTION_SYNTAX, FUNCTION_NO_EXPORT, FUNCTION_NO_IMPORT; whatever a reactor's initialisation throws */
export function loadWasm(path: string): { call: FetchFunction; renew: () => void } {
  const module = compile(path);
  const exported = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  if (!exported.has('_start') && !exported.has('handle')) {
    const found = [...exported].join(', ') || 'nothing';
    const wanted = 'Mayfly calls `_start` of a WASI command or `handle` of a reactor';
    throw new FunctionError('FUNCTION_NO_EXPORT', `the module exports ${found}; ${wanted}`);
  }
  checkImports(module);
  const folder = mkdtempSync(join(tmpdir(), 'wasm-'));
  const prepare = () => prepared(module, exported.has('_start'), folder);
  let ready: Prepared | undefined = prepare();
  const call: FetchFunction = async (request) => {
    const { run, files } = ready ?? prepare();
    ready = undefined; // an instance is for one request
    writeAll(files.stdin, new Uint8Array(await request.arrayBuffer()));
    const code = run();
    const [answer, errors] = [join(folder, 'stdout'), join(folder, 'stderr')].map((file) =>
      readFileSync(file),
    ) as [Buffer, Buffer];
    for (const file of Object.values(files)) closeSync(file);
    const lines = errors.toString().trimEnd();
    if (lines !== '') for (const line of lines.split('\n')) console.error(line);
    if (code === 0) return new Response(answer, { headers: { 'content-type': typeOf(answer) } });
    throw new FunctionError('FUNCTION_FAILED', `the module ended with exit code ${code}`);
  };
  const renew = () => {
    ready = prepare();
  };
  return { call, renew };
}

function compile(path: string): WebAssembly.Module {
  const bytes = readFileSync(path);
  const compiled = compileOptimised(bytes.byteLength);
  try {
    return new WebAssembly.Module(bytes);
  } catch (cause) {
    if (!(cause instanceof WebAssembly.CompileError)) throw cause;
    throw new FunctionError('FUNCTION_SYNTAX', cause.message, { cause });
  } finally {
    compiled();
  }
}

/** What the module imports beyond WASI would be an error of its instantiation that names the first one only. */
function checkImports(module: WebAssembly.Module): void {
  const given = new WASI({ version: 'preview1' }).getImportObject() as WebAssembly.Imports;
  const missing = WebAssembly.Module.imports(module)
    .filter(({ module: from, name }) => given[from]?.[name] === undefined)
    .map(({ module: from, name }) => `${from}.${name}`);
  if (missing.length === 0) return;
  const message = `the module imports ${missing.slice(0, IMPORTS_NAMED_MAX).join(', ')}; Mayfly gives it the functions of wasi_snapshot_preview1`;
  throw new FunctionError('FUNCTION_NO_IMPORT', message);
}

function prepared(module: WebAssembly.Module, isCommand: boolean, folder: string): Prepared {
  const open = (name: string) => openSync(join(folder, name), 'w+');
  const files = { stdin: open('stdin'), stdout: open('stdout'), stderr: open('stderr') };
  const env = process.env as Record<string, string>;
  const wasi = new WASI({
    version: 'preview1',
    args: ['function'],
    env,
    returnOnExit: true,
    ...files,
  });
  const instance = new WebAssembly.Instance(module, wasi.getImportObject() as WebAssembly.Imports);
  if (isCommand) return { run: () => wasi.start(instance), files };
  wasi.initialize(instance);
  const handle = instance.exports.handle as () => unknown;
  return { run: () => Number(handle() ?? 0), files };
}

/** Into a file that is read from its start: what was written does not move the place. */
function writeAll(file: number, bytes: Uint8Array): void {
  ftruncateSync(file, 0);
  for (let at = 0; at < bytes.byteLength; ) {
    at += writeSync(file, bytes, at, bytes.byteLength - at, at);
  }
}

function typeOf(body: Uint8Array): string {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(body);
    return 'text/plain; charset=utf-8';
  } catch {
    return 'application/octet-stream';
  }
}
