/** Results as a picture: one bar a benchmark, on a logarithmic scale, since they differ by orders of magnitude. */
import type { BenchmarkResult, Host } from './benchmark.js';

const WIDTH = 760;
const BAR = 22;
const LABEL = 170;
const FIGURE = 110;

/** An SVG document; the bars are medians, the thin lines behind them 99 % quantiles. */
export function chart(results: readonly BenchmarkResult[], host: Host): string {
  const room = WIDTH - LABEL - FIGURE;
  const values = results.flatMap(({ median, p99 }) => [median, p99]).filter((value) => value > 0);
  const [least, most] = [Math.min(...values) / 2, Math.max(...values)];
  const length = (value: number) =>
    value <= 0 ? 0 : Math.round((room * Math.log(value / least)) / Math.log(most / least));
  const height = (results.length + 1) * BAR + 8;
  const bars = results.map(({ name, median, p99, unit }, i) => {
    const y = i * BAR + 4;
    const middle = y + BAR / 2;
    return [
      `<text x="${LABEL - 8}" y="${middle}" text-anchor="end">${escaped(name)}</text>`,
      `<line x1="${LABEL}" x2="${LABEL + length(p99)}" y1="${middle}" y2="${middle}"/>`,
      `<rect x="${LABEL}" y="${y + 3}" width="${length(median)}" height="${BAR - 8}"/>`,
      `<text x="${LABEL + length(p99) + 8}" y="${middle}">${median} ${unit === 'us' ? 'µs' : unit}</text>`,
    ].join('\n');
  });
  const where = `median (bar), p99 (line), logarithmic; ${host.cpu}, ${host.cores} cores, Linux ${host.kernel}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<style>text { dominant-baseline: central; fill: #24292f } rect { fill: #4c78a8 } line { stroke: #9ecae9; stroke-width: 3 }
@media (prefers-color-scheme: dark) { text { fill: #d0d7de } }</style>
${bars.join('\n')}
<text x="${LABEL}" y="${height - BAR / 2}" font-size="10">${escaped(where)}</text>
</svg>
`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
