/**
 * A dialect: how a program in a guest is spoken to. On the host's side there are frames only (docs/decisions/0002); a dialect
 * translates them for programs that know nothing of frames.
 *
 * ```
 *                  boot                                            clone
 *   frames   the agent connects, its first frame says ready    frames go through
 *   http     a connection to the port is accepted              a request on that connection, its answer
 *   stdio    standard input is read, and nothing is there      the body is standard input, standard output the answer
 * ```
 */
import type { Frame, LogLine, MayflyError, WarmUpCall } from '@mayfly/protocol';
import type { Machine, Stop } from '../machine/machine.js';
import { FramesGreeting, FramesTalk } from './frames.js';
import { HttpGreeting, HttpTalk } from './http.js';
import { StdioGreeting, StdioTalk } from './stdio.js';

/** Plain data: part of a template. `warmup`: what is answered before the template is made. */
export type Dialect =
  | { kind: 'frames' }
  | { kind: 'http'; port: number; warmup?: readonly WarmUpCall[] }
  | { kind: 'stdio' };

const FRAMES: Dialect = { kind: 'frames' };

type Head = Record<string, unknown>;

/** While a template is made: waits for the moment in which the program waits for its first request. */
export interface Greeting {
  /**
   * Looks at the machine after a turn that did not fail. A head: the one that the program said, or an agent would have said;
   * the template is captured if the guest is idle. 'enter': it was told something and is to run at once.
   *
   * @throws MayflyError when the program will never be ready
   */
  look(stop: Stop): Head | 'wait' | 'enter';
  /** What ends a boot that took too long, as far as the dialect knows more. */
  readonly missing?: string;
}

/** What a talk tells of, always within a turn of the guest, send() or exited(). */
export interface TalkEvents {
  frame(frame: Frame): void;
  /** The program said something that no program may: the invocation cannot be completed. */
  damaged(error: MayflyError): void;
  /** After send() returned false: there is room again. */
  drained(): void;
}

/** One clone's conversation, one invocation after the other. */
export interface Talk {
  /** Takes the next frame of an invocation, encoded. False: enough waits for the program, go on after drained(). */
  send(frame: Uint8Array): boolean;
  /** Holds back what the program says, and soon the program, until resume(). */
  pause(): void;
  resume(): void;
  /** Takes what the program wrote to standard output. False: it is no answer, but lines of a log. */
  output(chunk: Uint8Array): boolean;
  /** A turn of the guest is over: what waits for more of the same is told of now. `idle`: the program waits for something. */
  turned(idle: boolean): void;
  /** The program ended of its own will, which may be how it ends an invocation. */
  exited(code: number): void;
  /** The clone was rewound. */
  reset(): void;
}

/** `logs`: gives the lines that the program wrote so far. */
export function greet(
  dialect: Dialect = FRAMES,
  machine: Machine,
  logs: () => LogLine[],
): Greeting {
  if (dialect.kind === 'http') return new HttpGreeting(machine, dialect, logs);
  if (dialect.kind === 'stdio') return new StdioGreeting(machine, logs);
  return new FramesGreeting(machine);
}

export function talk(dialect: Dialect = FRAMES, machine: Machine, events: TalkEvents): Talk {
  if (dialect.kind === 'http') return new HttpTalk(machine, dialect.port, events);
  if (dialect.kind === 'stdio') return new StdioTalk(machine, events);
  return new FramesTalk(machine, events);
}
