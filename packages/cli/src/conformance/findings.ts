/** What the lives of clones come to: values that two of them share, and clocks that are off. */

/** What a probe (packages/cli/conformance) answers in one life. */
export interface Sighting {
  /** CLOCK_REALTIME and CLOCK_MONOTONIC, in ms; the second from any point that is the template's. */
  wallMs: number;
  monoMs: number;
  /** Values that no two lives may share. */
  unique: Readonly<Record<string, string | number>>;
  /** Values that are documented to be the same in all clones of a template. */
  same: Readonly<Record<string, string | number>>;
}

/** One life, and when the host asked for it and had its answer: CLOCK_REALTIME, ms. */
export interface Life extends Sighting {
  askedMs: number;
  answeredMs: number;
}

export interface Finding {
  check: string;
  ok: boolean;
  detail: string;
}

/** A clock may be off by as much. */
export const CLOCK_OFF_MAX_MS = 50;

const SHOWN = 3;

/** `groups`: lives of one template each. */
export function findingsOf(groups: readonly (readonly Life[])[]): Finding[] {
  const lives = groups.flat();
  return [
    ...keysOf(lives, 'unique').map((check) => allDifferent(check, lives)),
    ...keysOf(lives, 'same').map((check) => allSame(check, groups)),
    clock('wall clock', Math.max(...lives.map(wallOff))),
    clock('monotonic clock', Math.max(...groups.map(monoOff))),
  ];
}

function keysOf(lives: readonly Life[], kind: 'unique' | 'same'): string[] {
  return [...new Set(lives.flatMap((life) => Object.keys(life[kind])))];
}

function allDifferent(check: string, lives: readonly Life[]): Finding {
  const counts = new Map<unknown, number>();
  for (const { unique } of lives) {
    counts.set(unique[check], (counts.get(unique[check]) ?? 0) + 1);
  }
  const shared = [...counts].filter(([, count]) => count > 1);
  if (shared.length === 0) return { check, ok: true, detail: `${counts.size} different values` };
  const shown = shared.slice(0, SHOWN).map(([value, count]) => `${value} (${count} times)`);
  const detail = `${shared.length} values more than once: ${shown.join(', ')}`;
  return { check, ok: false, detail };
}

function allSame(check: string, groups: readonly (readonly Life[])[]): Finding {
  const values = groups.map((lives) => [...new Set(lives.map(({ same }) => same[check]))]);
  const ok = values.every(({ length }) => length === 1);
  const different = [...new Set(values.flat())].slice(0, SHOWN).join(', ');
  return { check, ok, detail: ok ? `the template's, ${different}` : `differs: ${different}` };
}

/** How far outside of the time in which it was read. */
function wallOff({ wallMs, askedMs, answeredMs }: Life): number {
  return Math.max(0, askedMs - wallMs, wallMs - answeredMs);
}

/**
 * Every clone begins at its template's monotonic time T, which nobody told: a clone that answered within d ms saw a time in
 * [T, T + d]. How far apart these say that T is.
 */
function monoOff(lives: readonly Life[]): number {
  const earliest = Math.max(
    ...lives.map(({ monoMs, askedMs, answeredMs }) => monoMs - (answeredMs - askedMs)),
  );
  const latest = Math.min(...lives.map(({ monoMs }) => monoMs));
  return Math.max(0, earliest - latest);
}

function clock(check: string, offMs: number): Finding {
  const detail = `at most ${offMs.toFixed(1)} ms off, ${CLOCK_OFF_MAX_MS} allowed`;
  return { check, ok: offMs <= CLOCK_OFF_MAX_MS, detail };
}
