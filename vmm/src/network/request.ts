/** The bytes before a connection, as `network` in packages/protocol/src/abi.ts describes them; both directions. */
import { constants } from 'node:os';
import { abi } from '@mayfly/protocol';
import { type Address, addressOf } from './address.js';

const { network } = abi;
const VERSION = 1;

export interface ConnectRequest {
  /** Datagrams for the name server, each behind its length. */
  datagrams: boolean;
  address: Address;
  port: number;
}

/** undefined when the bytes are not what a guest kernel sends. `bytes` has NET_REQUEST_SIZE of them. */
export function decodeRequest(bytes: Uint8Array): ConnectRequest | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, network.NET_REQUEST_SIZE);
  const kind = view.getUint8(1);
  const known = kind === network.NET_STREAM || kind === network.NET_DATAGRAM;
  if (view.getUint8(0) !== VERSION || !known || view.getUint32(4) !== 0) return undefined;
  return {
    datagrams: kind === network.NET_DATAGRAM,
    port: view.getUint16(2),
    address: addressOf(bytes.subarray(8, network.NET_REQUEST_SIZE)),
  };
}

export type Refusal =
  | 'EACCES'
  | 'EADDRNOTAVAIL'
  | 'EAGAIN'
  | 'ECONNREFUSED'
  | 'EHOSTUNREACH'
  | 'EINVAL'
  | 'EIO'
  | 'ENETUNREACH'
  | 'ETIMEDOUT';

/** The answer: connected, or Linux's number of why not. */
export function encodeAnswer(refusal?: Refusal): Uint8Array {
  const bytes = new Uint8Array(network.NET_ANSWER_SIZE);
  const errno = refusal === undefined ? 0 : constants.errno[refusal];
  bytes[0] = VERSION;
  new DataView(bytes.buffer).setUint16(2, errno, true);
  return bytes;
}

const REFUSALS: Readonly<Record<string, Refusal>> = {
  ECONNREFUSED: 'ECONNREFUSED',
  ECONNRESET: 'ECONNREFUSED', // before the connection stood
  EHOSTUNREACH: 'EHOSTUNREACH',
  ENETUNREACH: 'ENETUNREACH',
  EADDRNOTAVAIL: 'EADDRNOTAVAIL',
  ETIMEDOUT: 'ETIMEDOUT',
  EINVAL: 'EINVAL',
  EACCES: 'EACCES', // a firewall of this host
  EPERM: 'EACCES',
  EMFILE: 'EAGAIN',
  ENFILE: 'EAGAIN',
  ENOMEM: 'EAGAIN',
};

/** What the guest is told of an error of this host's socket. */
export function refusalOf(error: unknown): Refusal {
  return REFUSALS[(error as NodeJS.ErrnoException).code ?? ''] ?? 'EIO';
}
