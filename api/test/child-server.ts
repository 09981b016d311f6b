/** Servers in processes of their own, which tests kill. */
import { type ChildProcess, spawn } from 'node:child_process';

type Tap = { teardown(end: () => Promise<void>): void };

/** A server in a process of its own. */
export interface ChildProcessServer {
  /** Rejects when the process ends before it serves. */
  url: Promise<string>;
  /** Resolves when the process is gone. */
  gone: Promise<void>;
  /** kill -9, if nothing else is said. Resolves when the process is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
}

export type ChildServer = Omit<ChildProcessServer, 'url'> & { url: string };

/**
 * Starts a program that prints the URL of its server. It does not outlive the test: it is killed at the end of it, and ends by
 * itself when its standard input does.
 */
export function spawnServer(t: Tap, program: string, ...args: string[]): ChildProcessServer {
  return spawnCommand(t, process.execPath, program, ...args);
}

/** The same, by a command that runs one. */
export function spawnCommand(t: Tap, command: string, ...args: string[]): ChildProcessServer {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const kill = (signal: NodeJS.Signals = 'SIGKILL') => {
    child.kill(signal);
    return gone;
  };
  t.teardown(kill);
  const url = firstLine(child, gone);
  url.catch(() => {});
  return { url, gone, kill };
}

/** The same, when it serves. */
export async function startChild(t: Tap, program: string, ...args: string[]): Promise<ChildServer> {
  const server = spawnServer(t, program, ...args);
  return { ...server, url: await server.url };
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
