/** mayfly conformance: do clones differ where they must? */
import { mkdtemp, rm } from 'node:fs/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Finding } from '../conformance/findings.js';
import type { RuntimeName } from '../conformance/lives.js';
import { examples } from '../examples.js';
import { type Io, printJson } from '../output.js';
import { Progress } from '../progress.js';

const COUNT_DEFAULT = 1000;
const COUNT_MAX = 100_000;
/** Files of templates want a disk; /tmp may be memory. */
const SCRATCH = '/var/tmp/mayfly-conformance-';

const HELP = `
Starts clones of a Node.js and of a Python function, as the server does: --count of them each new,
and as many lives in clones that are rewound. Each says once what it draws and what it sees.

No two lives may share a random number, a UUID, the name of a temporary file, a process id or a
machine id; hooks must have run once; no clock may be off by more than 50 ms.

Exits with 1 if a check fails. --json prints {ok, count, runtimes: [{runtime, lives, ok,
findings: [{check, ok, detail}]}]}.
`;

interface Flags {
  count: number;
  runtime?: RuntimeName;
  json?: boolean;
}

interface RuntimeReport {
  runtime: RuntimeName;
  lives: number;
  ok: boolean;
  findings: Finding[];
}

export function addConformance(program: Command, io: Io): void {
  examples(program.command('conformance'), 'mayfly conformance --count 100 --runtime node')
    .description('Test that clones differ where they must, and that their clocks are right.')
    .option('--count <number>', 'clones of each runtime and kind', parseCount, COUNT_DEFAULT)
    .addOption(new Option('--runtime <name>', 'only this one').choices(['node', 'python']))
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(async ({ count, runtime, json }: Flags) => {
      const runtimes = await test(count, runtime);
      const ok = runtimes.every((report) => report.ok);
      if (json) printJson(io, { ok, count, runtimes });
      else io.stdout(runtimes.map(reportText).join(''));
      process.exitCode = ok ? 0 : 1;
    });
}

function parseCount(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 2 && count <= COUNT_MAX) return count;
  throw new InvalidArgumentError(`A count is a number from 2 to ${COUNT_MAX}.`);
}

async function test(count: number, only: RuntimeName | undefined): Promise<RuntimeReport[]> {
  // Loaded here, so that other commands start without it.
  const { KINDS, livesOf, RUNTIMES } = await import('../conformance/lives.js');
  const { findingsOf } = await import('../conformance/findings.js');
  const { defaultImageDir, ImageStore } = await import('@mayfly/image');
  const images = await ImageStore.open(defaultImageDir());
  const directory = await mkdtemp(SCRATCH);
  const progress = new Progress(process.stderr);
  try {
    const reports: RuntimeReport[] = [];
    for (const runtime of RUNTIMES.filter((name) => only === undefined || name === only)) {
      const groups = [];
      for (const kind of KINDS) {
        const onLife = progress.pieces(`${runtime}, ${kind} clones`, count);
        groups.push(await livesOf({ runtime, kind, count, images, directory, onLife }));
      }
      const findings = findingsOf(groups);
      const ok = findings.every((finding) => finding.ok);
      reports.push({ runtime, lives: groups.flat().length, ok, findings });
    }
    return reports;
  } finally {
    progress.end();
    await rm(directory, { recursive: true, force: true });
  }
}

function reportText({ runtime, lives, findings }: RuntimeReport): string {
  const line = ({ check, ok, detail }: Finding) =>
    `  ${ok ? 'ok  ' : 'FAIL'}  ${check}: ${detail}\n`;
  return `${runtime}: ${lives} lives\n${findings.map(line).join('')}`;
}
