/** How much is measured: --scale, which processes of a benchmark inherit as MAYFLY_BENCH_SCALE. */
const VARIABLE = 'MAYFLY_BENCH_SCALE';

/** False when it is not a number above 0. */
export function setScale(text: string): boolean {
  const scale = Number(text);
  if (!(scale > 0 && scale < Number.POSITIVE_INFINITY)) return false;
  process.env[VARIABLE] = text;
  return true;
}

/** A count that is meant for --scale 1, as many as this run has; at least one. */
export function scaled(count: number): number {
  return Math.max(1, Math.round(count * Number(process.env[VARIABLE] ?? 1)));
}
