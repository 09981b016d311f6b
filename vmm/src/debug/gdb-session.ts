/**
 * What a debugger asks of a program that stands still, and the answers ("Debugging with GDB", appendix E). Knows nothing of
 * sockets. A command that makes no sense is answered with an error, one that is not known with nothing, as the protocol
 * wants it.
 */
import type { Debuggee } from './debuggee.js';
import { PACKET_MAX } from './gdb-packets.js';
import {
  allRegisters,
  readRegister,
  splitRegisters,
  targetDescription,
  writeRegister,
} from './gdb-registers.js';
import type { GuestThread } from './stopped-process.js';

/** How the program goes on: with which signal, 0 for none; and which thread alone, 0 for all. */
export interface Resume {
  kind: 'continue' | 'detach' | 'kill';
  signal: number;
  only: number;
}

export const FREELY = { signal: 0, only: 0 } as const;

/** The answer to a command, or the end of the stop. */
export type Reply = string | Resume;

const ERROR = 'E01';
const UNKNOWN = '';
const OK = 'OK';
const READ_MAX = PACKET_MAX / 2;
const SIGTRAP = 5;

/** Signals whose numbers differ between Linux and gdb (include/gdb/signals.def). */
const GDB_OF_LINUX = new Map([
  [7, 10],
  [10, 30],
  [12, 31],
  [17, 20],
  [18, 19],
  [19, 17],
  [20, 18],
  [23, 16],
  [29, 23],
  [31, 12],
]);
const LINUX_OF_GDB = new Map([...GDB_OF_LINUX].map(([linux, gdb]) => [gdb, linux]));

const hexByte = (n: number) => (n & 0xff).toString(16).padStart(2, '0');

/** A signal as a stop or an exit reply has it. */
export function gdbSignal(signal: number): string {
  const other = signal >= 34 ? signal + 12 : signal; // real-time signals
  return hexByte(GDB_OF_LINUX.get(signal) ?? other);
}

export class GdbSession {
  readonly #debuggee: Debuggee;
  #program: string;
  /** The debugger wants to be told of an execve. */
  #execEvents = false;
  /** The thread that `g`, `p` and the like mean: 0 for the one that stopped. */
  #selected = 0;
  #stopReply = '';

  /** `program`: its path, which is the same in the guest and on the host. */
  constructor(debuggee: Debuggee, program: string) {
    this.#debuggee = debuggee;
    this.#program = program;
  }

  /** The program has stopped; returns what the debugger is told if it waits. */
  stopped(signal: number): string {
    const breakpoint = this.#debuggee.refresh();
    this.#selected = 0;
    const tid = this.#debuggee.process.current?.tid ?? 1;
    const { began } = this.#debuggee.process;
    if (began !== undefined) this.#program = began;
    const exec = began !== undefined && this.#execEvents;
    const swbreak = breakpoint && signal === SIGTRAP ? 'swbreak:;' : '';
    const why = exec ? `exec:${Buffer.from(began).toString('hex')};` : swbreak;
    this.#stopReply = `T${gdbSignal(signal)}thread:${tid.toString(16)};${why}`;
    return this.#stopReply;
  }

  /** One command's reply. */
  command(data: string): Reply {
    const rest = data.slice(1);
    switch (data[0]) {
      case '?':
        return this.#stopReply;
      case 'g':
        return this.#withThread((t) => allRegisters(t));
      case 'G':
        return this.#withThread((t) => this.#writeAll(t, rest));
      case 'p':
        return this.#readOne(rest);
      case 'P':
        return this.#writeOne(rest);
      case 'm':
        return this.#readMemory(rest);
      case 'M':
        return this.#writeMemory(rest, 'hex');
      case 'X':
        return this.#writeMemory(rest, 'latin1');
      case 'H':
        return this.#select(rest);
      case 'T':
        return this.#debuggee.thread(Number.parseInt(rest, 16)) === undefined ? ERROR : OK;
      case 'Z':
      case 'z':
        return this.#breakpoint(data);
      case 'c':
      case 's':
        return this.#resumeAll(data[0], 0);
      case 'C':
      case 'S':
        return this.#resumeAll(data[0].toLowerCase(), signalFrom(rest));
      case 'D':
        return { ...FREELY, kind: 'detach' };
      case 'k':
        return { ...FREELY, kind: 'kill' };
      case 'v':
        return this.#verbose(data);
      case 'q':
      case 'Q':
        return this.#query(data);
      default:
        return UNKNOWN;
    }
  }

  get #thread(): GuestThread | undefined {
    return this.#selected === 0
      ? this.#debuggee.process.current
      : this.#debuggee.thread(this.#selected);
  }

  #withThread(use: (thread: GuestThread) => string): string {
    const thread = this.#thread;
    return thread === undefined ? ERROR : use(thread);
  }

  #writeAll(thread: GuestThread, hex: string): string {
    const { memory } = this.#debuggee.process;
    for (const [number, value] of splitRegisters(hex).entries()) {
      if (!/^([0-9a-f]{2})+$/.test(value)) continue; // not available, or left out
      if (!writeRegister(memory, thread, number, Buffer.from(value, 'hex'))) return ERROR;
    }
    return OK;
  }

  #readOne(number: string): string {
    return this.#withThread(
      (t) => readRegister(t, Number.parseInt(number, 16))?.toString('hex') ?? ERROR,
    );
  }

  #writeOne(text: string): string {
    const [, number, value] = /^([0-9a-f]+)=((?:[0-9a-f]{2})+)$/i.exec(text) ?? [];
    if (number === undefined || value === undefined) return ERROR;
    const { memory } = this.#debuggee.process;
    return this.#withThread((t) => {
      const bytes = Buffer.from(value, 'hex');
      return writeRegister(memory, t, Number.parseInt(number, 16), bytes) ? OK : ERROR;
    });
  }

  #readMemory(text: string): string {
    const range = rangeFrom(text);
    if (range === undefined || range.length > READ_MAX) return ERROR;
    return this.#debuggee.read(range.address, range.length)?.toString('hex') ?? ERROR;
  }

  #writeMemory(text: string, encoding: 'hex' | 'latin1'): string {
    const colon = text.indexOf(':');
    const range = rangeFrom(text.slice(0, colon));
    const bytes = Buffer.from(text.slice(colon + 1), encoding);
    if (colon < 0 || range === undefined || bytes.length !== range.length) return ERROR;
    return this.#debuggee.write(range.address, bytes) ? OK : ERROR;
  }

  /** `Hg` and `Hc`: -1 and 0 mean any thread. */
  #select(text: string): string {
    const tid = Number.parseInt(text.slice(1), 16);
    if (Number.isNaN(tid)) return ERROR;
    if (tid > 0 && this.#debuggee.thread(tid) === undefined) return ERROR;
    if (text[0] === 'g') this.#selected = Math.max(tid, 0);
    return OK;
  }

  #breakpoint(data: string): string {
    const [, set, address] = /^([zZ])0,([0-9a-f]{1,16}),/i.exec(data) ?? [];
    if (address === undefined) return UNKNOWN; // hardware breakpoints and watchpoints
    const at = BigInt(`0x${address}`);
    const done =
      set === 'Z' ? this.#debuggee.setBreakpoint(at) : this.#debuggee.removeBreakpoint(at);
    return done ? OK : ERROR;
  }

  #resumeAll(action: string, signal: number): Reply {
    if (action === 's') {
      const thread = this.#thread;
      if (thread === undefined) return ERROR;
      this.#debuggee.step(thread);
    }
    return { kind: 'continue', signal, only: 0 };
  }

  #verbose(data: string): Reply {
    if (data === 'vCont?') return 'vCont;c;C;s;S';
    if (data.startsWith('vCont;')) return this.#resumeSome(data.slice(6).split(';'));
    if (data.startsWith('vKill')) return { ...FREELY, kind: 'kill' };
    return UNKNOWN;
  }

  /** `c`, `C05`, `s:TID` ...: the first that fits a thread holds for it, and threads without one stand still. */
  #resumeSome(actions: readonly string[]): Reply {
    let signal = 0;
    let all = false;
    const named: number[] = [];
    for (const action of actions) {
      const [, kind, number, tid] =
        /^([cCsS])([0-9a-f]{2})?(?::(-?[0-9a-f]+))?$/.exec(action) ?? [];
      if (kind === undefined) return ERROR;
      const target = tid === undefined ? -1 : Number.parseInt(tid, 16);
      if (number !== undefined) signal = signalFrom(number);
      if (target <= 0) all = true;
      else named.push(target);
      if (kind.toLowerCase() === 's') {
        const thread = target > 0 ? this.#debuggee.thread(target) : this.#debuggee.process.current;
        if (thread === undefined) return ERROR;
        this.#debuggee.step(thread);
      }
    }
    const [only = 0] = all ? [] : named;
    return { kind: 'continue', signal, only };
  }

  #query(data: string): string {
    if (data.startsWith('qSupported')) {
      this.#execEvents = /[:;]exec-events\+/.test(data);
      const features = ['QStartNoAckMode', 'swbreak', 'exec-events', 'vContSupported'];
      const offered = features.map((f) => `${f}+`);
      const objects = ['features', 'auxv', 'exec-file'].map((o) => `qXfer:${o}:read+`);
      return [`PacketSize=${PACKET_MAX.toString(16)}`, ...offered, ...objects].join(';');
    }
    if (data === 'QStartNoAckMode') return OK;
    if (data === 'qC') return `QC${(this.#debuggee.process.current?.tid ?? 1).toString(16)}`;
    if (data === 'qAttached') return '1';
    if (data === 'qfThreadInfo') {
      return `m${this.#debuggee.process.threads.map((t) => t.tid.toString(16)).join(',')}`;
    }
    if (data === 'qsThreadInfo') return 'l';
    if (data.startsWith('qThreadExtraInfo,')) return this.#threadName(data.slice(17));
    if (data.startsWith('qSymbol')) return OK;
    if (data.startsWith('qXfer:')) return this.#transfer(data);
    return UNKNOWN;
  }

  #threadName(tid: string): string {
    const thread = this.#debuggee.thread(Number.parseInt(tid, 16));
    return thread === undefined ? ERROR : Buffer.from(thread.name).toString('hex');
  }

  #transfer(data: string): string {
    const [, object, annex, offset, length] =
      /^qXfer:([a-z-]+):read:([^:]*):([0-9a-f]{1,8}),([0-9a-f]{1,8})$/.exec(data) ?? [];
    const bytes = this.#object(object, annex ?? '');
    if (bytes === undefined) return object === undefined ? ERROR : 'E00';
    const start = Number.parseInt(offset as string, 16);
    const end = start + Math.min(Number.parseInt(length as string, 16), READ_MAX);
    return `${end < bytes.length ? 'm' : 'l'}${bytes.toString('latin1', start, Math.min(end, bytes.length))}`;
  }

  #object(name: string | undefined, annex: string): Buffer | undefined {
    if (name === 'features' && annex === 'target.xml') return Buffer.from(targetDescription());
    if (name === 'auxv') return this.#debuggee.process.auxv;
    if (name === 'exec-file') return Buffer.from(this.#program);
    return undefined;
  }
}

function rangeFrom(text: string): { address: bigint; length: number } | undefined {
  const [, address, length] = /^([0-9a-f]{1,16}),([0-9a-f]{1,8})$/i.exec(text) ?? [];
  if (address === undefined || length === undefined) return undefined;
  return { address: BigInt(`0x${address}`), length: Number.parseInt(length, 16) };
}

/** gdb's number of a signal, in hexadecimal, as Linux's. Those that mean nothing here are 0: none. */
function signalFrom(text: string): number {
  const signal = Number.parseInt(text.slice(0, 2), 16);
  if (Number.isNaN(signal) || signal > 76) return 0;
  return LINUX_OF_GDB.get(signal) ?? (signal >= 46 ? signal - 12 : signal);
}
