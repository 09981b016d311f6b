/** Servers in processes of their own, which tests kill. */
import { type ChildProcess, spawn } from 'node:child_process';

type Tap = { teardown(end: () => Promise<void>): void };

export interface ChildServer {
  url: string;
  /** Resolves when the process is gone. */
  gone: Promise<void>;
  /** kill -9. Resolves when the process is gone. */
  kill(): Promise<void>;
}

/**
 * Starts a program that prints the URL of its server. It does not outlive the test: it is killed at the end of it, and ends by
 * itself when its standard input does.
 */
export async function startChild(t: Tap, program: string, ...args: string[]): Promise<ChildServer> {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const kill = () => {
    child.kill('SIGKILL');
    return gone;
  };
  t.teardown(kill);
  return { url: await firstLine(child, gone), gone, kill };
}

async function firstLine({ stdout }: ChildProcess, gone: Promise<void>): Promise<string> {
  const line = new Promise<string>((resolve) => {
    stdout?.once('data', (text) => resolve(String(text).trim()));
  });
  const url = await Promise.race([line, gone]);
  if (url === undefined) throw new Error('the server did not start');
  return url;
}

/** In the program: ends it with the test that started it. */
export function endWithParent(): void {
  process.stdin.on('close', () => process.exit()).resume();
}
