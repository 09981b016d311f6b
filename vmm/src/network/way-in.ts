/**
 * The ports of this host behind which a guest's servers are. Clients are accepted before the guest starts, and wait until its
 * server listens for the first time; from then on a port without a listener is a reset, as it is where there is no guest between.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { MayflyError } from '@mayfly/protocol';
import type { VsockDevice, VsockStream } from '../devices/index.js';
import { withPort } from './address.js';
import { Dial, openStream } from './dial.js';
import { Relay } from './relay.js';
import { resetSocket } from './reset-socket.js';

/** Clients of one guest at once, those that wait among them. Each may hold half a MiB of this process. */
const CLIENTS_MAX = 256;
/** A client waits for the guest's server to listen for so long. */
const WAIT_MS = 60_000;
/** After which somebody may want to know that a client waits. */
const TELL_MS = 3_000;
const BACKLOG = 511;

export interface PublishedPort {
  /** An address of this host. */
  address: string;
  /** 0: any free one. */
  port: number;
  guestPort: number;
}

/** Of one port, or of all. */
export interface IngressStats {
  /** Connections that the guest accepted. */
  connections: number;
  /** Clients that found nobody, or no place. */
  failed: number;
  bytesSent: number;
  bytesReceived: number;
}

export interface WayInOptions {
  /** Told once for each port, when a client waits because the guest does not listen there yet. */
  waits?(port: PublishedPort): void;
  clientsMax?: number;
  waitMs?: number;
  tellMs?: number;
}

export class WayIn {
  readonly #listeners: Listener[] = [];
  readonly #limits: Required<Omit<WayInOptions, 'waits'>>;

  private constructor(options: WayInOptions) {
    const { clientsMax = CLIENTS_MAX, waitMs = WAIT_MS, tellMs = TELL_MS } = options;
    this.#limits = { clientsMax, waitMs, tellMs };
  }

  /** Listens on all of them, or on none. Throws MAYFLY_LISTEN. */
  static async listen(ports: readonly PublishedPort[], options: WayInOptions = {}): Promise<WayIn> {
    const wayIn = new WayIn(options);
    try {
      for (const port of ports) await wayIn.#add(port, options.waits);
    } catch (error) {
      wayIn.close();
      throw error;
    }
    return wayIn;
  }

  /** With the ports that were chosen for 0. */
  get ports(): PublishedPort[] {
    return this.#listeners.map(({ published }) => published);
  }

  get stats(): (PublishedPort & IngressStats)[] {
    return this.#listeners.map(({ published, stats }) => ({ ...published, ...stats }));
  }

  /** Those that are there now, whether the guest has accepted them or not. */
  get clients(): number {
    return this.#listeners.reduce((sum, { clients }) => sum + clients, 0);
  }

  /** Connections that the guest has accepted until now. */
  get connections(): number {
    return this.#listeners.reduce((sum, { stats }) => sum + stats.connections, 0);
  }

  /** The guest is about to run: its servers are behind this device. Nothing happens if it runs already. */
  open(vsock: VsockDevice): void {
    for (const listener of this.#listeners) listener.open(vsock);
  }

  /** The guest has ended: what it has sent is delivered, within 10 seconds. Nobody else is let in. */
  close(): void {
    for (const listener of this.#listeners) listener.close();
  }

  async #add(port: PublishedPort, waits: WayInOptions['waits']): Promise<void> {
    const isFull = () => this.clients >= this.#limits.clientsMax;
    const listener = new Listener(port.guestPort, { ...this.#limits, isFull, waits });
    this.#listeners.push(listener);
    await listener.listen(port);
  }
}

interface Surroundings {
  waitMs: number;
  tellMs: number;
  isFull(): boolean;
  waits: WayInOptions['waits'];
}

/** A client without a connection to the guest. It is not read meanwhile. */
interface Waiting {
  timer: NodeJS.Timeout;
  /** The stream that was asked for; absent while nobody listens. */
  stream?: VsockStream;
}

class Listener {
  readonly stats: IngressStats = { connections: 0, failed: 0, bytesSent: 0, bytesReceived: 0 };
  published: PublishedPort = { address: '', port: 0, guestPort: 0 };
  /** Sockets that are not closed yet. */
  clients = 0;
  readonly #guestPort: number;
  readonly #around: Surroundings;
  readonly #server: Server;
  /** Oldest first. */
  readonly #waiting = new Map<Socket, Waiting>();
  readonly #relays = new Set<Relay>();
  #vsock: VsockDevice | undefined;
  /** The guest's server has listened: who is refused from now on is told so. */
  #answered = false;
  #dial: Dial | undefined;
  #teller: NodeJS.Timeout | undefined;
  #told = false;

  constructor(guestPort: number, around: Surroundings) {
    this.#guestPort = guestPort;
    this.#around = around;
    const options = { allowHalfOpen: true, pauseOnConnect: true, noDelay: true };
    this.#server = createServer(options, (socket) => this.#accept(socket));
  }

  listen({ address, port, guestPort }: PublishedPort): Promise<void> {
    const server = this.#server;
    return new Promise((resolve, reject) => {
      server.once('error', (cause) => reject(listenError(withPort(address, port), cause)));
      server.listen({ host: address, port, backlog: BACKLOG, exclusive: true }, () => {
        const { port: chosen } = server.address() as AddressInfo;
        this.published = { address, port: chosen, guestPort };
        server.removeAllListeners('error');
        server.on('error', () => {}); // out of descriptors: clients wait in the kernel
        resolve();
      });
    });
  }

  open(vsock: VsockDevice): void {
    this.#vsock = vsock;
    if (this.#waiting.size > 0) this.#ask(vsock);
  }

  close(): void {
    this.#vsock = undefined;
    this.#server.close();
    this.#stopAsking();
    for (const socket of [...this.#waiting.keys()]) this.#fail(socket);
    for (const relay of [...this.#relays]) relay.finish();
  }

  #accept(socket: Socket): void {
    socket.on('error', () => {}); // what is to be done about it is the relay's
    if (this.#around.isFull()) {
      this.#fail(socket);
      return;
    }
    this.clients++;
    socket.once('close', () => this.clients--);
    const timer = setTimeout(() => this.#fail(socket), this.#around.waitMs).unref();
    this.#waiting.set(socket, { timer });
    if (this.#vsock === undefined) return;
    if (this.#answered) this.#connect(this.#vsock, socket);
    else this.#ask(this.#vsock);
  }

  /** Until somebody has listened, one client asks for all. */
  #ask(vsock: VsockDevice): void {
    this.#dial ??= new Dial(vsock, this.#guestPort, (stream) => this.#opened(vsock, stream));
    this.#teller ??= setTimeout(() => this.#tell(), this.#around.tellMs).unref();
  }

  #stopAsking(): void {
    this.#dial?.stop();
    this.#dial = undefined;
    clearTimeout(this.#teller);
    this.#teller = undefined;
  }

  #opened(vsock: VsockDevice, stream: VsockStream): void {
    this.#dial = undefined;
    this.#stopAsking();
    this.#answered = true;
    const [first, ...others] = this.#waiting.keys();
    if (first === undefined) stream.destroy();
    else this.#join(stream, first);
    for (const socket of others) this.#connect(vsock, socket);
  }

  #connect(vsock: VsockDevice, socket: Socket): void {
    const stream = openStream(vsock, this.#guestPort);
    const waiting = this.#waiting.get(socket);
    if (stream === undefined || waiting === undefined) {
      this.#fail(socket);
      return;
    }
    waiting.stream = stream;
    stream.onOpen = () => this.#join(stream, socket);
    stream.onClose = () => this.#fail(socket);
  }

  #join(stream: VsockStream, socket: Socket): void {
    this.#leave(socket);
    this.stats.connections++;
    const relay = new Relay(stream, socket, {
      sent: (bytes) => {
        this.stats.bytesSent += bytes;
      },
      received: (bytes) => {
        this.stats.bytesReceived += bytes;
      },
    });
    this.#relays.add(relay);
    socket.once('close', () => this.#relays.delete(relay));
    socket.resume();
  }

  /** The client finds its connection reset. */
  #fail(socket: Socket): void {
    const stream = this.#leave(socket);
    if (stream !== undefined) stream.onClose = () => {};
    stream?.destroy();
    if (this.#waiting.size === 0) this.#stopAsking();
    this.stats.failed++;
    resetSocket(socket);
  }

  #leave(socket: Socket): VsockStream | undefined {
    const waiting = this.#waiting.get(socket);
    clearTimeout(waiting?.timer);
    this.#waiting.delete(socket);
    return waiting?.stream;
  }

  #tell(): void {
    if (this.#told) return;
    this.#told = true;
    this.#around.waits?.(this.published);
  }
}

/** What can be done about it is in the message. */
const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there',
  EACCES: 'this user may not listen on that port; those from 1024 on need no privilege',
  EADDRNOTAVAIL: 'this host has no such address',
};

function listenError(where: string, cause: NodeJS.ErrnoException): MayflyError {
  const reason = REASONS[cause.code ?? ''] ?? cause.message;
  return new MayflyError('MAYFLY_LISTEN', `cannot listen on ${where}: ${reason}`, { cause });
}
