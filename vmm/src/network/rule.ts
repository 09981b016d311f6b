/**
 * What a guest may connect to, as one line of text:
 *
 * ```
 *   example.com            a name, all ports            10.1.2.3            an address
 *   example.com:443        one port                     10.0.0.0/8:443      a network
 *   *.example.com:80,443   every name below             2001:db8::/32       without ports
 *   *:443                  every name, every public     [2001:db8::1]:443   with ports
 *                          address                      host.mayfly:5432    this host's loopback
 * ```
 * Ports are numbers and ranges with commas: `80,443,8000-8100`.
 */
import { domainToASCII } from 'node:url';
import { MayflyError } from '@mayfly/protocol';
import ipaddr from 'ipaddr.js';
import { type Address, contains, HOST_NAME, type Network, parseAddress } from './address.js';

export type PortRange = readonly [first: number, last: number];

interface Ports {
  /** undefined: all. */
  ports: readonly PortRange[] | undefined;
}

/** `below`: names that end in `.name`, not name itself. */
export type NameRule = Ports & { kind: 'name'; name: string; below: boolean };
export type NetworkRule = Ports & { kind: 'network'; network: Network };
export type Rule =
  | NameRule
  | NetworkRule
  /** Every name, and every public address. */
  | (Ports & { kind: 'any' })
  /** The host's loopback interface. */
  | (Ports & { kind: 'host' });

/** MayflyError MAYFLY_NETWORK_RULE says what is wrong and what would be right. */
export function parseRule(text: string): Rule {
  if (text.includes('://')) throw bad(text, 'a rule is no URL: example.com:443 would be one');
  const { host, ports: portsText } = split(text);
  const ports = portsText === undefined ? undefined : parsePorts(text, portsText);
  if (host === '') throw bad(text, 'it names no host');
  if (host === '*') return { kind: 'any', ports };
  if (host.includes('/')) return { kind: 'network', network: parseNetwork(text, host), ports };
  const address = parseAddress(host);
  if (address !== undefined) return { kind: 'network', network: single(text, address), ports };
  const below = host.startsWith('*.');
  const name = normalName(below ? host.slice(2) : host);
  if (name === undefined) throw badHost(text, host);
  if (name === 'localhost' || name.endsWith('.localhost')) throw loopback(text);
  if (name !== HOST_NAME) return { kind: 'name', name, below, ports };
  if (ports === undefined) throw bad(text, `say which ports: ${HOST_NAME}:5432`);
  return { kind: 'host', ports };
}

/** Whether a rule's ports have this one. */
export function hasPort({ ports }: Ports, port: number): boolean {
  return ports === undefined || ports.some(([first, last]) => port >= first && port <= last);
}

export function matchesName(rule: NameRule, name: string): boolean {
  return rule.below ? name.endsWith(`.${rule.name}`) : name === rule.name;
}

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** In ASCII, lower case, without the dot at the end; undefined when it is no host name. */
export function normalName(text: string): string | undefined {
  const bare = text.endsWith('.') ? text.slice(0, -1) : text;
  // domainToASCII knows URLs, where an underscore is nothing and "1" is an address: plain names do not go through it.
  const ascii = /^[\x20-\x7e]*$/.test(bare) ? bare.toLowerCase() : domainToASCII(bare);
  if (ascii.length > 253) return undefined;
  const labels = ascii.split('.');
  const isNumber = /^[0-9]+$/.test(labels.at(-1)!);
  return !isNumber && labels.every((label) => LABEL.test(label)) ? ascii : undefined;
}

/** An IPv6 address has colons of its own: with ports it stands in brackets. */
function split(text: string): { host: string; ports: string | undefined } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  if (bracketed !== null) return { host: bracketed[1]!, ports: bracketed[2] };
  const [host = '', ports, ...more] = text.split(':');
  if (more.length > 0) return { host: text, ports: undefined };
  return { host, ports };
}

function parsePorts(text: string, portsText: string): PortRange[] {
  return portsText.split(',').map((part) => {
    const [, low, high = low] = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(part) ?? [];
    const first = Number(low);
    const last = Number(high);
    if (!(first >= 1 && first <= last && last <= 65_535)) {
      throw bad(text, `"${part}" is no port: 443, 80,443 or 8000-8100 would be`);
    }
    return [first, last] as const;
  });
}

function parseNetwork(text: string, host: string): Network {
  const [baseText = '', prefixText = '', ...more] = host.split('/');
  const base = parseAddress(baseText);
  if (base === undefined) throw badHost(text, host);
  const bits = base.kind() === 'ipv4' ? 32 : 128;
  const prefix = /^[0-9]{1,3}$/.test(prefixText) ? Number(prefixText) : Number.NaN;
  if (more.length > 0 || !(prefix <= bits)) {
    const hint = host.includes(':')
      ? '; with ports, IPv6 stands in brackets: [2001:db8::/32]:443'
      : '';
    throw bad(text, `the length of a prefix is 0 to ${bits}${hint}`);
  }
  const first = networkAddress(base, prefix);
  if (first.toString() !== base.toString()) {
    throw bad(text, `the network would be ${first}/${prefix}; a single address is ${base}`);
  }
  return checkNetwork(text, [base, prefix]);
}

function networkAddress(base: Address, prefix: number): Address {
  const text = `${base}/${prefix}`;
  return base.kind() === 'ipv4'
    ? ipaddr.IPv4.networkAddressFromCIDR(text)
    : ipaddr.IPv6.networkAddressFromCIDR(text);
}

function single(text: string, address: Address): Network {
  return checkNetwork(text, [address, address.kind() === 'ipv4' ? 32 : 128]);
}

const LOOPBACK: readonly Network[] = [
  [ipaddr.parse('127.0.0.0'), 8],
  [ipaddr.parse('::1'), 128],
];

function checkNetwork(text: string, network: Network): Network {
  const [base, prefix] = network;
  if (LOOPBACK.some((l) => prefix >= l[1] && contains(l, base))) throw loopback(text);
  return network;
}

function loopback(text: string): MayflyError {
  return bad(text, `in a guest that is the guest itself; this host's is ${HOST_NAME}:PORT`);
}

function badHost(text: string, host: string): MayflyError {
  if (host.includes('*')) return bad(text, 'a * stands alone or first: *.example.com');
  return bad(text, `"${host}" is neither a name, an address nor a network`);
}

function bad(text: string, why: string): MayflyError {
  return new MayflyError('MAYFLY_NETWORK_RULE', `network rule "${text}": ${why}`);
}
