/** What V8 compiled in a part of a program's life, which calls a function `arrived` where the part begins and where it ends. */
import { readFileSync } from 'node:fs';

/** Leaves such a mark when it is evaluated. */
export const ARRIVED = "eval('(function arrived() {})()')";

export const logFlags = (log: string) => [
  '--log-function-events',
  `--logfile=${log}`,
  '--no-logfile-per-isolate',
];

/** Of Node.js: what its timers and the collector call, now or then, and wrappers that nearly each of its functions has. */
const NOW_OR_THEN = /^node:internal\/(validators|http resetCache$|deps\/undici\/undici (onTick)?$)/;

/** Functions between the marks, as `script name`. */
export function compiledIn(log: string): string[] {
  const lines = readFileSync(log, 'utf8').split('\n');
  const script = new Map<string, string>();
  for (const line of lines) {
    const [, id, name] = /^script-details,(\d+),([^,]*)/.exec(line) ?? [];
    if (id !== undefined) script.set(id, name ?? '');
  }
  const [arrived, ended] = lines.flatMap((line, at) =>
    /^function,interpreter,.*,arrived$/.test(line) ? [at] : [],
  );
  if (arrived === undefined || ended === undefined) throw new Error('no invocation in the log');
  return lines
    .slice(arrived + 1, ended)
    .map((line) => line.split(','))
    .filter(([event, kind]) => event === 'function' && kind === 'interpreter')
    .map(([, , id = '', , , , , name]) => `${script.get(id)} ${name}`)
    .filter((line) => !NOW_OR_THEN.test(line));
}
