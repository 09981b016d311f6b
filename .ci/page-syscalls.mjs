// docs/syscalls.md, from the tables in firmware/syscall/.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './workspace.mjs';

const SYSCALL_TABLES = join(ROOT, 'firmware/syscall');
const ROW =
  /^SYSCALL\(\s*(\d+),\s*(\w+),\s*"[^"]*",\s*(FULL|PARTIAL|NONE),\s*((?:"(?:[^"\\]|\\.)*"\s*)+)\)/gm;

const REFUSED_ROW = /^REFUSED\((\d+), (\w+), "[^"]*", (\w+), "([^"]*)"\)/gm;

/** The rows of the guest kernel's system-call tables, by number. */
function syscalls() {
  const text = readdirSync(SYSCALL_TABLES)
    .filter((name) => name.endsWith('.def'))
    .map((name) => readFileSync(join(SYSCALL_TABLES, name), 'utf8'))
    .join('\n');
  const rows = [...text.matchAll(ROW)].map(([, number, name, support, missing]) => ({
    number: Number(number),
    name,
    support: support.toLowerCase(),
    missing: missing.trim().replace(/"\s*"/g, '').slice(1, -1).replaceAll('\\"', '"'),
  }));
  for (const [, number, name, error, why] of text.matchAll(REFUSED_ROW))
    rows.push({ number: Number(number), name, support: 'none', missing: `${error}: ${why}` });
  const calls = text.match(/^(SYSCALL|REFUSED)\(/gm)?.length ?? 0;
  if (calls !== rows.length)
    throw new Error(`${calls} rows, but ${rows.length} have the right form`);
  return rows.sort((a, b) => a.number - b.number);
}

/** The page's text. */
export function syscallsPage() {
  const rows = syscalls();
  const count = (support) => rows.filter((row) => row.support === support).length;
  const lines = rows.map(
    ({ number, name, support, missing }) =>
      `| ${number} | ${name} | ${support} | ${missing.replaceAll('|', '\\|')} |`,
  );
  return `# System calls

Generated from the tables in \`firmware/syscall/\` by \`node .ci/generated.mjs --write\`; do not edit.

${rows.length} system calls are known: ${count('full')} full, ${count('partial')} partial, ${count('none')} refused.
Every other number ends in \`ENOSYS\`.

| number | name | support | what is missing |
|---|---|---|---|
${lines.join('\n')}
`;
}
