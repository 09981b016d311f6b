/** The name server of one guest: questions in the form of RFC 1035 are checked, asked of the resolver, and answered. */
import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  type OptAnswer,
  type Packet,
  type Question,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from 'dns-packet';
import { type Address, GUEST_ADDRESS, HOST_ADDRESS, HOST_NAME, parseAddress } from './address.js';
import type { Denial } from './denial.js';
import type { NetworkPolicy } from './policy.js';
import type { NameRecord, NameResolver, RecordType } from './resolver.js';
import { normalName } from './rule.js';

const rcode = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4 } as const;
const OPCODE_MASK = 0x7800;
const HEADER_SIZE = 12;
const TYPES: readonly string[] = ['A', 'AAAA', 'CNAME', 'MX', 'SRV', 'TXT'];

/** A datagram without EDNS (RFC 1035, 2.3.4), and the most that one with EDNS gets (RFC 9715). */
const DATAGRAM_PLAIN = 512;
const DATAGRAM_EDNS = 1400;

/** RFC 8914: the name is not resolved because of a policy. */
const EDE = { option: 15, PROHIBITED: 18 } as const;

export interface NameServerOptions {
  policy: NetworkPolicy;
  resolver: NameResolver;
  /** The addresses of a name that the guest now knows. */
  learned(name: string, addresses: readonly Address[]): void;
  denied(denial: Denial): void;
  /** What the guest calls itself. */
  hostname(): string;
  /** Whether addresses of IPv6 are of any use. */
  ipv6(): boolean;
}

export class NameServer {
  readonly #options: NameServerOptions;

  constructor(options: NameServerOptions) {
    this.#options = options;
  }

  /** The answer to one message of the guest; undefined when it deserves none. `datagram`: it may not be long. */
  async answer(message: Uint8Array, datagram: boolean): Promise<Uint8Array | undefined> {
    const query = read(message);
    if (query === undefined) return undefined;
    if (typeof query === 'number') return failure(message, query);
    const { question } = query;
    const name = normalName(question.name);
    if (name === undefined) return failure(message, rcode.NXDOMAIN);
    const edns = query.packet.additionals?.find((row): row is OptAnswer => row.type === 'OPT');
    const { records, code, prohibited } = await this.#lookUp(name, question.type);
    const head: Packet = {
      type: 'response',
      id: query.packet.id ?? 0,
      flags:
        RECURSION_AVAILABLE |
        (query.packet.flags! & RECURSION_DESIRED) |
        (name === HOST_NAME ? AUTHORITATIVE_ANSWER : 0) |
        code,
      questions: [question],
      additionals: edns === undefined ? [] : [optRecord(prohibited)],
    };
    const answers = records.map((record) => ({ name: question.name, ...record }) as Answer);
    const whole = encode({ ...head, answers });
    const limit =
      edns === undefined ? DATAGRAM_PLAIN : Math.min(DATAGRAM_EDNS, edns.udpPayloadSize);
    if (!datagram || whole.length <= Math.max(limit, DATAGRAM_PLAIN)) return whole;
    return encode({ ...head, flags: head.flags! | TRUNCATED_RESPONSE });
  }

  async #lookUp(name: string, type: string): Promise<Result> {
    if (name === 'localhost') return found(type === 'A' ? [address('127.0.0.1')] : []);
    const { policy, resolver, denied, hostname } = this.#options;
    if (name === hostname().toLowerCase()) {
      return found(type === 'A' ? [address(GUEST_ADDRESS.toString())] : []);
    }
    if (!policy.allowsName(name)) {
      const what = name === HOST_NAME ? 'it is the loopback interface of this host' : undefined;
      const rule = name === HOST_NAME ? `${HOST_NAME}:PORT` : name;
      denied({ target: name, reason: what ?? 'no rule allows this name', rule });
      return { ...MISSING, prohibited: true };
    }
    if (name === HOST_NAME) return found(type === 'A' ? [address(HOST_ADDRESS.toString())] : []);
    if (!TYPES.includes(type) || (type === 'AAAA' && !this.#options.ipv6())) return found([]);
    const resolution = await resolver.resolve(name, type as RecordType);
    if (resolution === 'missing') return MISSING;
    if (resolution === 'failed') return { records: [], code: rcode.SERVFAIL, prohibited: false };
    this.#learn(name, resolution);
    return found(resolution);
  }

  #learn(name: string, records: readonly NameRecord[]): void {
    const addresses = records
      .filter(({ type }) => type === 'A' || type === 'AAAA')
      .map(({ data }) => parseAddress(String(data)));
    this.#options.learned(
      name,
      addresses.filter((a) => a !== undefined),
    );
  }
}

interface Result {
  records: readonly NameRecord[];
  code: number;
  prohibited: boolean;
}

const MISSING: Result = { records: [], code: rcode.NXDOMAIN, prohibited: false };

function found(records: readonly NameRecord[]): Result {
  return { records, code: rcode.NOERROR, prohibited: false };
}

function address(data: string): NameRecord {
  return { type: 'A', ttl: 60, data };
}

interface Query {
  packet: Packet;
  question: Question;
}

/** What the guest asks, or the code of its mistake; undefined when it is too short even for that, or is an answer. */
function read(message: Uint8Array): Query | number | undefined {
  if (message.length < HEADER_SIZE) return undefined;
  const header = new DataView(message.buffer, message.byteOffset, HEADER_SIZE);
  if ((header.getUint16(2) & 0x8000) !== 0) return undefined;
  if ((header.getUint16(2) & OPCODE_MASK) !== 0) return rcode.NOTIMP;
  // One question, and besides it at most what EDNS and TSIG add: nothing else is worth decoding.
  const counts = [4, 6, 8, 10].map((at) => header.getUint16(at));
  if (counts[0] !== 1 || counts[1] !== 0 || counts[2] !== 0 || counts[3]! > 2) return rcode.FORMERR;
  try {
    const packet = decode(Buffer.from(message));
    const [question] = packet.questions ?? [];
    if (question === undefined || question.class !== 'IN') return rcode.NOTIMP;
    return { packet, question };
  } catch {
    return rcode.FORMERR;
  }
}

/** The header alone, with the code. */
function failure(message: Uint8Array, code: number): Uint8Array {
  const answer = Buffer.alloc(HEADER_SIZE);
  answer.set(message.subarray(0, 4));
  answer[2] = (answer[2]! & 0x79) | 0x80;
  answer[3] = 0x80 | code;
  return answer;
}

function optRecord(prohibited: boolean): OptAnswer {
  const options = [{ code: EDE.option, data: Buffer.from([0, EDE.PROHIBITED]) }];
  return {
    type: 'OPT',
    name: '.',
    udpPayloadSize: DATAGRAM_EDNS,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    // The library encodes any option that has data; its types know a few.
    options: (prohibited ? options : []) as unknown as OptAnswer['options'],
  };
}
