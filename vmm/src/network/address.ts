/** IP addresses as the guest sends them and as rules mean them. */
import { networkInterfaces } from 'node:os';
import { abi } from '@mayfly/protocol';
import ipaddr from 'ipaddr.js';

/** IPv4 is always an IPv4, never in its mapped form: one address has one form. */
export type Address = ipaddr.IPv4 | ipaddr.IPv6;
export type Network = [base: Address, prefix: number];

const { network } = abi;

/** The guest's name for the loopback interface of its host. */
export const HOST_NAME = 'host.mayfly';
export const HOST_ADDRESS = ipv4(network.NET_HOST_IP);
export const NAME_SERVER = ipv4(network.NET_DNS_IP);
export const GUEST_ADDRESS = ipv4(network.NET_GUEST_IP);

function ipv4(value: number): ipaddr.IPv4 {
  return new ipaddr.IPv4([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
}

/** The 16 bytes of an IPv6 address; mapped ones are IPv4. */
export function addressOf(bytes: Uint8Array): Address {
  const address = ipaddr.fromByteArray([...bytes]) as ipaddr.IPv6;
  return address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
}

/** Four decimal parts or IPv6, nothing else (inet_aton takes more); undefined for other text. */
export function parseAddress(text: string): Address | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text);
  if (!text.includes(':') || text.includes('%') || !ipaddr.IPv6.isValid(text)) return undefined;
  const address = ipaddr.IPv6.parse(text);
  return address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
}

export function isSame(a: Address, b: Address): boolean {
  return a.kind() === b.kind() && a.toString() === b.toString();
}

export function contains([base, prefix]: Network, address: Address): boolean {
  return base.kind() === address.kind() && address.match(base, prefix);
}

/** As in a URL: IPv6 in brackets. */
export function withPort(host: Address | string, port: number): string {
  const text = host.toString();
  return text.includes(':') ? `[${text}]:${port}` : `${text}:${port}`;
}

/** Of this kind no rule opens anything: they mean the guest itself, or many hosts. */
export function isUnreachable(address: Address): boolean {
  const range = address.range();
  return (
    range === 'loopback' ||
    range === 'unspecified' ||
    range === 'multicast' ||
    range === 'broadcast' ||
    isSame(address, GUEST_ADDRESS)
  );
}

const GLOBAL_UNICAST: Network = [ipaddr.IPv6.parse('2000::'), 3];

/** Whether the address is one of the public Internet (the IANA registries of special-purpose addresses). */
export function isPublic(address: Address): boolean {
  if (address.range() !== 'unicast') return false;
  return address.kind() === 'ipv4' || contains(GLOBAL_UNICAST, address);
}

/**
 * Where clouds answer with a machine's credentials, and neighbours on the link: only a rule for nothing but these opens
 * them. AWS, Google, Azure and others use the link-local one.
 */
const DELICATE: readonly Network[] = (
  [
    ['169.254.0.0', 16],
    ['fe80::', 10],
    ['fd00:ec2::254', 128], // AWS
    ['168.63.129.16', 32], // Azure's wire server
    ['100.100.100.200', 32], // Alibaba
    ['192.0.0.192', 32], // Oracle
  ] as const
).map(([text, prefix]) => [ipaddr.parse(text), prefix]);

/** The network of delicate addresses that this one belongs to. */
export function delicateNetwork(address: Address): Network | undefined {
  return DELICATE.find((delicate) => contains(delicate, address));
}

/** What this host's interfaces are called, by text. */
export function ownAddresses(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((rows) => rows ?? []);
  return new Set(all.map((row) => parseAddress(row.address.split('%')[0]!)?.toString() ?? ''));
}

/** Whether this host has an IPv6 address that others may know. */
export function hasIpv6(): boolean {
  const all = Object.values(networkInterfaces()).flatMap((rows) => rows ?? []);
  return all.some(
    (row) => row.family === 'IPv6' && !row.internal && !row.address.startsWith('fe80'),
  );
}
