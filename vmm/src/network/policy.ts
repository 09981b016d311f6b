/** The rules of a guest, and what they say of a name or an address. */
import {
  type Address,
  contains,
  delicateNetwork,
  HOST_ADDRESS,
  HOST_NAME,
  isPublic,
  isSame,
  isUnreachable,
  withPort,
} from './address.js';
import type { Denial } from './denial.js';
import { hasPort, matchesName, parseRule, type Rule } from './rule.js';

export type Decision = { allowed: true; connectTo: string } | { allowed: false; denial: Denial };

export class NetworkPolicy {
  readonly #rules: readonly Rule[];
  readonly #ownAddresses: () => ReadonlySet<string>;

  /**
   * `allow`: lines of rule.ts; none: nothing is allowed. `ownAddresses`: those of this host, which count as private.
   * MayflyError MAYFLY_NETWORK_RULE.
   */
  constructor(allow: readonly string[], ownAddresses: () => ReadonlySet<string>) {
    this.#rules = allow.map(parseRule);
    this.#ownAddresses = ownAddresses;
  }

  /** Whether a name may be asked for: a question alone carries data to whoever answers for the name. */
  allowsName(name: string): boolean {
    return this.#rules.some((rule) => {
      if (name === HOST_NAME) return rule.kind === 'host';
      return rule.kind === 'any' || (rule.kind === 'name' && matchesName(rule, name));
    });
  }

  /** `names`: those that the host has resolved to this address for this guest. */
  decide(address: Address, port: number, names: Iterable<string>): Decision {
    const [name] = names;
    const target = describe(address, port, name);
    const deny = (reason: string, rule: string | undefined): Decision => ({
      allowed: false,
      denial: { target, reason, rule },
    });
    if (isSame(address, HOST_ADDRESS)) {
      return this.#rules.some((rule) => rule.kind === 'host' && hasPort(rule, port))
        ? { allowed: true, connectTo: '127.0.0.1' }
        : deny('it is the loopback interface of this host', withPort(HOST_NAME, port));
    }
    if (isUnreachable(address) || port === 0) return deny('it is no address of a host', undefined);
    const allowed: Decision = { allowed: true, connectTo: address.toString() };
    if (this.#allowsAddress(address, port)) return allowed;
    if (delicateNetwork(address)) {
      return deny('it is link-local or serves credentials', withPort(address, port));
    }
    if (!isPublic(address)) return deny('it is not a public address', withPort(address, port));
    if (this.#ownAddresses().has(address.toString())) {
      return deny('it is an address of this host', withPort(address, port));
    }
    if (this.#allowsPublic(port, names)) return allowed;
    return deny('no rule allows it', withPort(name ?? address, port));
  }

  #allowsAddress(address: Address, port: number): boolean {
    const delicate = delicateNetwork(address);
    return this.#rules.some((rule) => {
      if (rule.kind !== 'network' || !hasPort(rule, port)) return false;
      const [base, prefix] = rule.network;
      if (delicate && !(prefix >= delicate[1] && contains(delicate, base))) return false;
      return contains(rule.network, address);
    });
  }

  #allowsPublic(port: number, names: Iterable<string>): boolean {
    return this.#rules.some((rule) => {
      if (!hasPort(rule, port)) return false;
      if (rule.kind === 'any') return true;
      if (rule.kind !== 'name') return false;
      for (const name of names) if (matchesName(rule, name)) return true;
      return false;
    });
  }
}

function describe(address: Address, port: number, name: string | undefined): string {
  const text = withPort(address, port);
  return name === undefined ? text : `${text} (${name})`;
}
