/**
 * A WebAssembly module as a function: a WASI command, which reads the request's body on standard input and writes the answer to
 * standard output, or a reactor, whose `handle()` does. It is compiled, instantiated and, if a reactor, initialised before the
 * template is captured.
 */
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WASI } from 'node:wasi';
import { CHUNK_BYTES } from '@mayfly/protocol';
import type { Channel } from './channel.js';
import { compileOptimised } from './compilation.js';
import { flushLogs, takeLogs } from './console.js';
import { FunctionError } from './failure.js';
import type { ProgramFunction } from './load.js';
import type { RequestBody } from './request-body.js';
import { type Ends, WasiStdio } from './wasi-stdio.js';
import type {} from './webassembly-types.js';

const IMPORTS_NAMED_MAX = 20;

interface Prepared {
  /** Runs it; gives its exit code. */
  run(ends: Ends): number;
}

/** @throws FunctionError FUNCTION_SYNTAX, FUNCTION_NO_EXPORT, FUNCTION_NO_IMPORT; whatever a reactor's initialisation throws */
export function loadWasm(path: string): { call: ProgramFunction; renew: () => void } {
  const module = compile(path);
  const exported = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  if (!exported.has('_start') && !exported.has('handle')) {
    const found = [...exported].join(', ') || 'nothing';
    const wanted = 'Mayfly calls `_start` of a WASI command or `handle` of a reactor';
    throw new FunctionError('FUNCTION_NO_EXPORT', `the module exports ${found}; ${wanted}`);
  }
  checkImports(module);
  const file = emptyFile();
  const prepare = () => prepared(module, exported.has('_start'), file);
  let ready: Prepared | undefined = prepare();
  const call: ProgramFunction = (head, body, channel) => {
    const { run } = ready ?? prepare();
    ready = undefined; // an instance is for one request
    const answer = new Answer(channel, head.type === 'request' && head.method === 'HEAD');
    const code = run(answer.endsWith(body));
    if (code !== 0) {
      throw new FunctionError('FUNCTION_FAILED', `the module ended with exit code ${code}`);
    }
    answer.end();
  };
  const renew = () => {
    ready = prepare();
  };
  return { call, renew };
}

/**
 * What the module writes: in one frame with its head if it is short, in chunks if it is longer or the module waits before it
 * is over.
 */
class Answer {
  readonly #channel: Channel;
  /** Nobody reads the body. */
  readonly #isHead: boolean;
  readonly #bytes = new Uint8Array(CHUNK_BYTES);
  #length = 0;
  #begun = false;

  constructor(channel: Channel, isHead: boolean) {
    this.#channel = channel;
    this.#isHead = isHead;
  }

  endsWith(body: RequestBody): Ends {
    return {
      read: () => {
        if (!body.isAtHand) this.#flush();
        return body.takeNow();
      },
      write: (bytes) => this.#write(bytes),
      writeError: (bytes) => void process.stderr.write(bytes),
      waits: () => this.#flush(),
    };
  }

  end(): void {
    if (this.#begun) {
      this.#flush();
      flushLogs();
      this.#channel.write({ type: 'chunk', end: true });
    } else this.#channel.write({ ...this.#head(), logs: takeLogs() }, this.#taken());
  }

  #write(bytes: Uint8Array): void {
    if (this.#isHead) return;
    for (let at = 0; at < bytes.byteLength; ) {
      const part = bytes.subarray(at, at + this.#bytes.byteLength - this.#length);
      this.#bytes.set(part, this.#length);
      this.#length += part.byteLength;
      at += part.byteLength;
      if (this.#length === this.#bytes.byteLength) this.#flush();
    }
  }

  #flush(): void {
    if (this.#length === 0) return;
    if (!this.#begun) this.#channel.write({ ...this.#head(), logs: takeLogs(), more: true });
    this.#begun = true;
    this.#channel.write({ type: 'chunk' }, this.#taken());
  }

  #taken(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    return taken;
  }

  #head() {
    const type = typeOf(this.#bytes.subarray(0, this.#length));
    return {
      type: 'response' as const,
      status: 200,
      headers: [['content-type', type]] as [string, string][],
    };
  }
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

/** What node:wasi takes the three descriptors for: a file that stays empty. */
function emptyFile(): number {
  const folder = mkdtempSync(join(tmpdir(), 'wasm-'));
  const file = openSync(join(folder, 'empty'), 'w+');
  rmSync(folder, { recursive: true });
  return file;
}

function prepared(module: WebAssembly.Module, isCommand: boolean, file: number): Prepared {
  const env = process.env as Record<string, string>;
  const wasi = new WASI({
    version: 'preview1',
    args: ['function'],
    env,
    returnOnExit: true,
    stdin: file,
    stdout: file,
    stderr: file,
  });
  const stdio = new WasiStdio();
  const { wasi_snapshot_preview1: calls, ...imports } = wasi.getImportObject() as Imports;
  const instance = new WebAssembly.Instance(module, {
    ...imports,
    wasi_snapshot_preview1: stdio.over(calls),
  });
  const { memory, handle } = instance.exports as { memory?: WebAssembly.Memory; handle?: Handle };
  stdio.memory = memory;
  if (!isCommand) wasi.initialize(instance);
  const run = (ends: Ends) => {
    stdio.ends = ends;
    return isCommand ? wasi.start(instance) : Number(handle?.() ?? 0);
  };
  return { run };
}

type Imports = { wasi_snapshot_preview1: Record<string, (...args: never[]) => unknown> };
type Handle = () => unknown;

/** By the start of a body, which may end within a character. */
function typeOf(start: Uint8Array): string {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(start, { stream: true });
    return 'text/plain; charset=utf-8';
  } catch {
    return 'application/octet-stream';
  }
}
