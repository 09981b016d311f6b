/**
 * What the function writes: to its console, to stdout and to stderr. Lines are kept in memory and travel with the answer,
 * so that logging costs no exit; those of an invocation that takes long or writes much go in frames of their own. Bounded
 * in number and size, so that a loop that logs fills neither the guest's memory nor the host's.
 */
import { StringDecoder } from 'node:string_decoder';
import { format, inspect } from 'node:util';
import type { LogLevel, LogLine } from '@mayfly/protocol';

const LINES_MAX = 256;
const LINE_CHARS_MAX = 4096;
/** All lines together. In UTF-8 and JSON this can become six times as much, which still fits a frame's head. */
const CHARS_MAX = 32 * 1024;
/** Frames of one invocation: some 8 MiB of text at most. What is written beyond is counted and dropped. */
const FLUSHES_MAX = 256;
/** How long a line may wait for the answer. */
const WAIT_MS = 200;

// The function may replace them.
const { setTimeout, clearTimeout } = globalThis;

let lines: LogLine[] = [];
let chars = 0;
let dropped = 0;
let flushes = 0;
let timer: NodeJS.Timeout | undefined;
/** Where lines go that do not wait; undefined while no function runs. */
let sink: ((logs: LogLine[]) => void) | undefined;

/** Replaces the methods of the global console that write, and what writes to stdout and stderr. */
export function captureConsole(): void {
  const writer =
    (level: LogLevel) =>
    (...args: unknown[]) =>
      keep(level, format(...args));
  console.log = writer('info');
  console.info = writer('info');
  console.debug = writer('debug');
  console.warn = writer('warn');
  console.error = writer('error');
  console.dirxml = writer('info');
  console.dir = (value: unknown, options?: object) => keep('info', inspect(value, options));
  console.trace = (...args: unknown[]) => {
    const trace = { name: 'Trace', message: format(...args), stack: '' };
    Error.captureStackTrace(trace, console.trace);
    keep('error', trace.stack);
  };
  process.stdout.write = lineWriter(stdout);
  process.stderr.write = lineWriter(stderr);
}

/** From now on, lines that cannot wait go to `to`; undefined: they wait. */
export function sendLogs(to: ((logs: LogLine[]) => void) | undefined): void {
  sink = to;
  flushes = 0;
}

/** Hands over what was written since the last call. */
export function takeLogs(): LogLine[] {
  if (stdout.rest !== '') endLine(stdout);
  if (stderr.rest !== '') endLine(stderr);
  if (lines.length === 0 && dropped === 0) return [];
  const taken = lines;
  if (dropped > 0) {
    taken.push({ level: 'warn', time: Date.now(), text: `${dropped} more lines were dropped` });
  }
  lines = [];
  chars = 0;
  dropped = 0;
  clearTimeout(timer);
  timer = undefined;
  return taken;
}

/** Sends what was written, if there is somewhere to send it. */
export function flushLogs(): void {
  if (!sink || (lines.length === 0 && dropped === 0)) return;
  flushes++;
  sink(takeLogs());
}

function keep(level: LogLevel, text: string): void {
  if (lines.length >= LINES_MAX || chars >= CHARS_MAX) {
    if (flushes < FLUSHES_MAX) flushLogs();
    if (lines.length >= LINES_MAX || chars >= CHARS_MAX) {
      dropped++;
      return;
    }
  }
  const kept = text.length > LINE_CHARS_MAX ? `${text.slice(0, LINE_CHARS_MAX)}…` : text;
  chars += kept.length;
  lines.push({ level, time: Date.now(), text: kept });
  if (sink) timer ??= setTimeout(flushWaiting, WAIT_MS).unref();
}

function flushWaiting(): void {
  timer = undefined;
  if (flushes < FLUSHES_MAX) flushLogs();
}

/** A stream of text that becomes lines. */
interface LineStream {
  level: LogLevel;
  decoder: StringDecoder;
  /** What came behind the last end of a line. */
  rest: string;
}

const stdout: LineStream = { level: 'info', decoder: new StringDecoder(), rest: '' };
const stderr: LineStream = { level: 'error', decoder: new StringDecoder(), rest: '' };

function lineWriter(stream: LineStream): typeof process.stdout.write {
  type Callback = (error?: Error) => void;
  return (
    chunk: Uint8Array | string,
    encoding?: BufferEncoding | Callback,
    callback?: Callback,
  ) => {
    const named = typeof encoding === 'string' ? encoding : 'utf8';
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, named) : Buffer.from(chunk);
    addText(stream, stream.decoder.write(bytes));
    const done = typeof encoding === 'function' ? encoding : callback;
    if (done) process.nextTick(done);
    return true;
  };
}

function addText(stream: LineStream, text: string): void {
  const parts = (stream.rest + text).split('\n');
  stream.rest = parts.pop() as string;
  for (const part of parts) keep(stream.level, part);
  if (stream.rest.length > LINE_CHARS_MAX) endLine(stream);
}

function endLine(stream: LineStream): void {
  const line = stream.rest;
  stream.rest = '';
  keep(stream.level, line);
}
