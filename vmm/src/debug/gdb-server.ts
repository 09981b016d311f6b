/**
 * One debugger's connection. The program waits for it at its entry point; when the debugger goes away, the program goes on
 * without.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { abi, MayflyError } from '@mayfly/protocol';
import type { Machine } from '../machine/machine.js';
import { Debuggee } from './debuggee.js';
import { type Incoming, PacketReader, packet } from './gdb-packets.js';
import { FREELY, GdbSession, gdbSignal, type Resume } from './gdb-session.js';

const HOST = '127.0.0.1';
const SIGINT = 2;
const SIGTRAP = 5;

export class GdbServer {
  readonly #machine: Machine;
  readonly #debuggee: Debuggee;
  readonly #session: GdbSession;
  readonly #server: Server;
  #socket: Socket | undefined;
  #acknowledge = true;
  #lastSent: Buffer = Buffer.alloc(0);
  #attached = true;
  #lost = false;
  /** Set while the program stands still. */
  #goOn: ((how: Resume) => void) | undefined;

  private constructor(machine: Machine, program: string, server: Server) {
    this.#machine = machine;
    machine.mayStop = true;
    this.#debuggee = new Debuggee(machine);
    this.#session = new GdbSession(this.#debuggee, program);
    this.#server = server;
    server.on('connection', (socket) => this.#connected(socket));
  }

  /**
   * Listens on 127.0.0.1; port 0 takes any free one. The machine must have been made with `debug`.
   * Throws MAYFLY_LISTEN.
   */
  static listen(machine: Machine, program: string, port: number): Promise<GdbServer> {
    const server = createServer();
    return new Promise((resolve, reject) => {
      server.once('error', (cause) => {
        const message = `the debugger's port ${port} cannot be had: ${cause.message}`;
        reject(new MayflyError('MAYFLY_LISTEN', message, { cause }));
      });
      server.listen(port, HOST, () => resolve(new GdbServer(machine, program, server)));
    });
  }

  /** Where it listens. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** The machine has stopped: resolves when it is to be entered again, to false when it is to end. */
  async stopped(signal: number): Promise<boolean> {
    const told = this.#session.stopped(signal);
    if (this.#lost) this.#detach();
    if (!this.#attached) {
      this.#debuggee.prepare(signal === SIGTRAP || signal === SIGINT ? 0 : signal, 0);
      return true;
    }
    if (this.#socket !== undefined) this.#send(told);
    const how = await new Promise<Resume>((resolve) => {
      this.#goOn = resolve;
    });
    if (how.kind === 'kill') return false;
    if (how.kind === 'detach') this.#detach();
    this.#debuggee.prepare(how.signal, how.only);
    return true;
  }

  /** The program has ended: the debugger is told, and the connection ends. `status`: as from wait(2). */
  close(status: number): void {
    const signal = status & 0x7f;
    const code = ((status >> 8) & 0xff).toString(16).padStart(2, '0');
    if (this.#attached && this.#socket !== undefined) {
      this.#send(signal === 0 ? `W${code}` : `X${gdbSignal(signal)}`);
    }
    this.#attached = false;
    this.#socket?.end();
    this.#server.close();
  }

  #connected(socket: Socket): void {
    if (this.#socket !== undefined || !this.#attached) {
      socket.destroy();
      return;
    }
    const reader = new PacketReader();
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      for (const incoming of reader.push(chunk)) this.#receive(incoming);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#gone());
  }

  /** A lost connection is a detach. */
  #gone(): void {
    if (!this.#attached) return;
    this.#lost = true;
    if (this.#goOn !== undefined) this.#resume({ ...FREELY, kind: 'detach' });
    else this.#interrupt(); // the breakpoints have to go, too
  }

  #receive(incoming: Incoming): void {
    if (incoming.kind === 'interrupt') this.#interrupt();
    else if (incoming.kind === 'again') this.#socket?.write(this.#lastSent);
    else if (incoming.kind === 'damaged') this.#answer('-');
    else {
      this.#answer('+');
      this.#obey(incoming.data);
    }
  }

  #answer(sign: string): void {
    if (this.#acknowledge) this.#socket?.write(sign);
  }

  #obey(data: string): void {
    if (this.#goOn === undefined) return; // it runs: nothing but an interrupt makes sense
    const reply = this.#session.command(data);
    if (typeof reply === 'string') this.#send(reply);
    else {
      if (reply.kind === 'detach') this.#send('OK');
      this.#resume(reply);
    }
    if (data === 'QStartNoAckMode') this.#acknowledge = false;
  }

  #resume(how: Resume): void {
    const goOn = this.#goOn;
    this.#goOn = undefined;
    goOn?.(how);
  }

  #interrupt(): void {
    if (this.#goOn !== undefined) return;
    this.#machine.shared.requestStop();
    this.#machine.bus.onInput?.(); // if the machine waits for input
  }

  #detach(): void {
    this.#attached = false;
    this.#debuggee.removeBreakpoints();
    const flags = abi.layout.BOOT_GPA + abi.boot.flags;
    const view = new DataView(this.#machine.memory.buffer);
    view.setUint32(flags, view.getUint32(flags, true) & ~abi.flags.BOOT_DEBUG, true);
    this.#socket?.end();
    this.#server.close();
  }

  #send(data: string): void {
    this.#lastSent = packet(data);
    this.#socket?.write(this.#lastSent);
  }
}
