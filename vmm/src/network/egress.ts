/**
 * The way out of one guest: what it asks for on NET_PORT is checked against its policy, counted, and opened by this host.
 *
 * Names and connections belong together: a name's rule opens the addresses that this host resolved for that name, for this
 * guest, in this invocation, and only public ones. So a name server of somebody else cannot point a name that is
 * allowed at what is not.
 */
import { abi } from '@mayfly/protocol';
import type { VsockStream } from '../devices/index.js';
import { type Address, hasIpv6, isSame, NAME_SERVER, ownAddresses } from './address.js';
import { OutboundConnection } from './connection.js';
import type { Denial } from './denial.js';
import { NameServer } from './name-server.js';
import { NameStream } from './name-stream.js';
import { NetworkPolicy } from './policy.js';
import { type ConnectRequest, decodeRequest, encodeAnswer, type Refusal } from './request.js';
import { HostResolver, type NameResolver } from './resolver.js';

const { NET_REQUEST_SIZE, NET_DNS_PORT } = abi.network;

/** Connections and streams to the name server that a guest may have at once. */
const OPEN_MAX = 128;
/** Addresses whose names are remembered. */
const ADDRESSES_MAX = 1024;
/** Different denials that are told; a guest can cause as many as it likes. */
const DENIALS_MAX = 32;

/** What went out in one invocation, or in one run. */
export interface EgressStats {
  /** Connections that stood. */
  connections: number;
  /** Connections that could not be made, for other reasons than the policy. */
  failed: number;
  /** Connections and names that the policy refused. */
  denied: number;
  bytesSent: number;
  bytesReceived: number;
}

export interface EgressOptions {
  /** Lines of rule.ts; none: nothing is allowed. */
  allow: readonly string[];
  resolver?: NameResolver;
  /** Told once for each target. */
  denied?(denial: Denial): void;
  openMax?: number;
  /** What the guest calls itself: a name that is the guest. */
  hostname?(): string;
}

export const NO_EGRESS: Readonly<EgressStats> = Object.freeze({
  connections: 0,
  failed: 0,
  denied: 0,
  bytesSent: 0,
  bytesReceived: 0,
});

let hostResolver: HostResolver | undefined;

/** Refuses rules that parseRule() refuses, each with its reason. MayflyError MAYFLY_NETWORK_RULE. */
export function checkRules(allow: readonly string[]): void {
  new NetworkPolicy(allow, ownAddresses);
}

export class Egress {
  readonly #options: EgressOptions;
  readonly #policy: NetworkPolicy;
  readonly #open = new Set<{ destroy(): void }>();
  #invocation: Invocation;

  /** MayflyError MAYFLY_NETWORK_RULE. */
  constructor(options: EgressOptions) {
    this.#options = options;
    this.#policy = new NetworkPolicy(options.allow, ownAddresses);
    this.#invocation = this.#begin();
  }

  /** Of this invocation, so far. */
  get stats(): Readonly<EgressStats> {
    return this.#invocation.stats;
  }

  /** A stream that the guest opened to NET_PORT. */
  accept(stream: VsockStream): void {
    let head = new Uint8Array(0);
    stream.onEnd = () => stream.destroy(); // before it said what it wants
    stream.onData = (chunk) => {
      head = concat(head, chunk);
      if (head.length < NET_REQUEST_SIZE) return;
      const request = decodeRequest(head);
      if (request === undefined) stream.destroy();
      else this.#serve(stream, request, head.subarray(NET_REQUEST_SIZE));
    };
  }

  /** Ends all connections; what comes is another invocation. */
  end(): void {
    for (const connection of [...this.#open]) connection.destroy();
    this.#open.clear();
    this.#invocation = this.#begin();
  }

  #begin(): Invocation {
    const { resolver, denied, hostname = () => '' } = this.#options;
    hostResolver ??= resolver === undefined ? new HostResolver() : undefined;
    return new Invocation(this.#policy, resolver ?? hostResolver!, hostname, denied);
  }

  #serve(stream: VsockStream, request: ConnectRequest, early: Uint8Array): void {
    const refusal = this.#refusal(request);
    if (refusal !== undefined) {
      refuse(stream, refusal);
      return;
    }
    const { address, port, datagrams } = request;
    const invocation = this.#invocation;
    if (isSame(address, NAME_SERVER)) {
      const server = invocation.names;
      this.#keep((closed) => new NameStream(stream, server, { datagrams, early, closed }));
      return;
    }
    const decision = this.#policy.decide(address, port, invocation.namesOf(address));
    if (!decision.allowed) {
      invocation.deny(decision.denial);
      refuse(stream, 'EACCES');
      return;
    }
    const to = { host: decision.connectTo, port };
    this.#keep((closed) => new OutboundConnection(stream, to, early, invocation.count(closed)));
  }

  /** Why a request is refused whatever the policy. */
  #refusal({ address, port, datagrams }: ConnectRequest): Refusal | undefined {
    if (this.#open.size >= (this.#options.openMax ?? OPEN_MAX)) return 'EADDRNOTAVAIL';
    if (!isSame(address, NAME_SERVER)) return datagrams ? 'EACCES' : undefined;
    return port === NET_DNS_PORT ? undefined : 'ECONNREFUSED';
  }

  #keep(open: (closed: () => void) => { destroy(): void }): void {
    let connection: { destroy(): void } | undefined;
    let over = false;
    connection = open(() => {
      over = true;
      if (connection !== undefined) this.#open.delete(connection);
    });
    if (!over) this.#open.add(connection);
  }
}

/** What is known and counted from one rewind to the next; late answers find the one that they belong to. */
class Invocation {
  readonly stats: EgressStats = { ...NO_EGRESS };
  readonly names: NameServer;
  readonly #told = new Set<string>();
  readonly #denied: ((denial: Denial) => void) | undefined;
  /** By address; the oldest go first. */
  readonly #namesOf = new Map<string, Set<string>>();

  constructor(
    policy: NetworkPolicy,
    resolver: NameResolver,
    hostname: () => string,
    denied: ((denial: Denial) => void) | undefined,
  ) {
    this.#denied = denied;
    this.names = new NameServer({
      policy,
      resolver,
      hostname,
      learned: (name, addresses) => this.#learn(name, addresses),
      denied: (denial) => this.deny(denial),
      ipv6: hasIpv6,
    });
  }

  namesOf(address: Address): ReadonlySet<string> {
    return this.#namesOf.get(address.toString()) ?? new Set();
  }

  deny(denial: Denial): void {
    this.stats.denied++;
    if (this.#told.size >= DENIALS_MAX || this.#told.has(denial.target)) return;
    this.#told.add(denial.target);
    this.#denied?.(denial);
  }

  count(closed: () => void) {
    const { stats } = this;
    let connected = false;
    return {
      connected: () => {
        connected = true;
        stats.connections++;
      },
      sent: (bytes: number) => {
        stats.bytesSent += bytes;
      },
      received: (bytes: number) => {
        stats.bytesReceived += bytes;
      },
      closed: () => {
        if (!connected) stats.failed++;
        closed();
      },
    };
  }

  #learn(name: string, addresses: readonly Address[]): void {
    for (const address of addresses) {
      const text = address.toString();
      const names = this.#namesOf.get(text) ?? new Set<string>();
      this.#namesOf.delete(text);
      if (this.#namesOf.size >= ADDRESSES_MAX) {
        this.#namesOf.delete(this.#namesOf.keys().next().value!);
      }
      this.#namesOf.set(text, names.add(name));
    }
  }
}

function refuse(stream: VsockStream, refusal: Refusal): void {
  stream.onData = () => {};
  stream.onEnd = () => {};
  stream.write(encodeAnswer(refusal));
  stream.end();
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
