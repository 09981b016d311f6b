/**
 * The function's console: lines are kept in memory and travel with the answer, so that logging costs no exit. Bounded in
 * number and size, so that a loop that logs cannot fill the guest's memory or the frame.
 */
import { format, inspect } from 'node:util';
import type { LogLevel, LogLine } from '@mayfly/protocol';

const LINES_MAX = 256;
const LINE_CHARS_MAX = 4096;
/** All lines together. In UTF-8 and JSON this can become six times as much, which still fits a frame's head. */
const CHARS_MAX = 32 * 1024;

let lines: LogLine[] = [];
let chars = 0;
let dropped = 0;

/** Replaces the methods of the global console that write. */
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
}

/** Hands over what was written since the last call. */
export function takeLogs(): LogLine[] {
  if (lines.length === 0 && dropped === 0) return [];
  const taken = lines;
  if (dropped > 0) {
    taken.push({ level: 'warn', time: Date.now(), text: `${dropped} more lines were dropped` });
  }
  lines = [];
  chars = 0;
  dropped = 0;
  return taken;
}

function keep(level: LogLevel, text: string): void {
  if (lines.length >= LINES_MAX || chars >= CHARS_MAX) {
    dropped++;
    return;
  }
  const kept = text.length > LINE_CHARS_MAX ? `${text.slice(0, LINE_CHARS_MAX)}…` : text;
  chars += kept.length;
  lines.push({ level, time: Date.now(), text: kept });
}
