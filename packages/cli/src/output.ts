/** What the commands print: results to stdout, everything about them to stderr. */
import { type LogLine, MayflyError } from '@mayfly/protocol';

/** Streams and environment of the command line, so that tests can bring their own. */
export interface Io {
  stdout: (text: string) => void;
  stderr: (text: string) => void;
  env: Record<string, string | undefined>;
  /** Ends commands that go on until they are told to stop. */
  signal?: AbortSignal;
}

export function printJson(io: Io, value: unknown): void {
  io.stdout(`${JSON.stringify(value, null, 2)}\n`);
}

/** Text of a function for a terminal: without the control characters that could move its cursor or worse. */
export function plain(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, '\ufffd');
}

/** A console line. */
export function logText({ time, level, text }: LogLine): string {
  return `${new Date(time).toISOString()} ${level} ${plain(text)}\n`;
}

/** Rows in columns as wide as needed. */
export function table(rows: string[][]): string {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  const line = (row: string[]) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ');
  return rows.map((row) => `${line(row).trimEnd()}\n`).join('');
}

/**
 * Removes what can be removed, as rm(1) does: an error is told, and the others are removed all the same.
 *
 * @returns the names of those that are gone
 */
export async function removeEach(
  names: readonly string[],
  io: Io,
  remove: (name: string) => Promise<void>,
): Promise<string[]> {
  const removed: string[] = [];
  for (const name of names) {
    try {
      await remove(name);
      removed.push(name);
    } catch (error) {
      printError(io, error);
      process.exitCode = 1;
    }
  }
  return removed;
}

/** What a shell shows of a program that wrote to a closed pipe: 128 + SIGPIPE. */
export const EXIT_PIPE = 141;

/** MAYFLY_FILE, with the system's reason. */
export function unreadable(path: string, cause: unknown): MayflyError {
  return new MayflyError('MAYFLY_FILE', `cannot read ${path}: ${reasonOf(cause)}`, { cause });
}

/** MAYFLY_FILE, with the system's reason. */
export function unwritable(path: string, cause: unknown): MayflyError {
  return new MayflyError('MAYFLY_FILE', `cannot write ${path}: ${reasonOf(cause)}`, { cause });
}

/** Of an error of the system, without its code and the names of calls. */
function reasonOf(cause: unknown): string {
  const { message } = cause as Error;
  return /^[A-Z]+: (.*?)(, \w+.*)?$/.exec(message)?.[1] ?? message;
}

/** What to do about an error, where the command line knows. */
function adviceFor(code: string): string | undefined {
  if (code === 'MAYFLY_CONNECT')
    return 'start a server with `mayfly serve`, or name one with --url';
  if (code === 'MAYFLY_NOT_MAYFLY') return 'check --url, MAYFLY_URL and what lies between';
  if (code === 'MAYFLY_FUNCTION_UNKNOWN') return '`mayfly ls` lists the functions';
  if (code === 'MAYFLY_VERSION_UNKNOWN') return '`mayfly versions NAME` lists them';
  if (code === 'MAYFLY_ARCHIVE_TOO_LARGE')
    return 'leave out what the function does not need: of packages, `npm ci --omit=dev` does';
  if (code === 'MAYFLY_LISTEN') return 'choose another port, or 0 for any free one';
  if (code === 'MAYFLY_STORE_UNUSABLE') return 'choose another folder with --data';
  if (code.startsWith('MAYFLY_KVM_')) return '`mayfly doctor` says what this host lacks';
  if (code === 'MAYFLY_KERNEL_MISSING' || code === 'MAYFLY_AGENT_MISSING') {
    return 'build it with `npm run setup`';
  }
  return CHECKPOINT_ADVICE[code];
}

const CHECKPOINT_ADVICE: Readonly<Record<string, string>> = {
  MAYFLY_CHECKPOINT_UNKNOWN: '`mayfly checkpoint ls` lists what there is',
  MAYFLY_CHECKPOINT_EXISTS: 'choose another name, or remove it with `mayfly checkpoint rm`',
  MAYFLY_CHECKPOINT_DAMAGED:
    'create, export or import it again; `mayfly checkpoint verify --all` says whether others are whole',
  MAYFLY_CHECKPOINT_VERSION: 'create it again with this version of Mayfly',
  MAYFLY_CHECKPOINT_CPU: 'create it again on this host, or clone it where these features are',
  MAYFLY_CHECKPOINT_INCOMPLETE: 'export it again, with its layers',
  MAYFLY_CHECKPOINT_STORE_FULL: 'remove checkpoints, or give a folder on another disk with --store',
  MAYFLY_CHECKPOINT_ENDED: '--after takes one after a time, --when-idle when the program waits',
  MAYFLY_CHECKPOINT_NEVER:
    '--when-idle takes one where it waits; a program asks by reading /dev/checkpoint',
};

/** One line that says what is wrong, and one that says what to do; before them, what the function wrote until then. */
export function printError(io: Io, error: unknown): void {
  if (!(error instanceof MayflyError)) {
    io.stderr(`mayfly: MAYFLY_INTERNAL: ${error instanceof Error ? error.stack : String(error)}\n`);
    return;
  }
  const { details, hint } = error as {
    details?: {
      location?: { column: number; lineText: string };
      stack?: string;
      logs?: LogLine[];
    };
    hint?: string;
  };
  for (const line of details?.logs ?? []) io.stderr(logText(line));
  io.stderr(`mayfly: ${error.code}: ${plain(error.message)}\n`);
  if (details?.location) {
    const { lineText, column } = details.location;
    io.stderr(`  ${lineText}\n  ${' '.repeat(column - 1)}^\n`);
  } else if (details?.stack) {
    io.stderr(`${plain(details.stack).replace(/^/gm, '  ')}\n`);
  }
  const advice = adviceFor(error.code) ?? hint; // that of the server
  if (advice) io.stderr(`  ${advice}\n`);
}
