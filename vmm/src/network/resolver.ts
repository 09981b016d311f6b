/** Names, by the name servers of this host (its /etc/hosts is its own business). */
import { Resolver } from 'node:dns/promises';

/** Types of records that guests get; others are answered as if there were none. */
export type RecordType = 'A' | 'AAAA' | 'CNAME' | 'MX' | 'SRV' | 'TXT';

/** A record's data in the form that dns-packet encodes. */
export interface NameRecord {
  type: RecordType;
  ttl: number;
  data: unknown;
}

/** 'missing': there is no such name. 'failed': nobody could say. */
export type Resolution = readonly NameRecord[] | 'missing' | 'failed';

export interface NameResolver {
  /** Never rejects. */
  resolve(name: string, type: RecordType): Promise<Resolution>;
}

const TIMEOUT_MS = 2000;
const TRIES = 2;
/** Node.js does not tell the time to live of these. */
const TTL_UNKNOWN = 30;

export class HostResolver implements NameResolver {
  readonly #resolver = new Resolver({ timeout: TIMEOUT_MS, tries: TRIES });

  /** `servers`: addresses with or without ports, instead of those that the host uses. */
  constructor(servers?: readonly string[]) {
    if (servers !== undefined) this.#resolver.setServers(servers);
  }

  async resolve(name: string, type: RecordType): Promise<Resolution> {
    try {
      return await this.#ask(name, type);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENODATA') return [];
      return code === 'ENOTFOUND' ? 'missing' : 'failed';
    }
  }

  async #ask(name: string, type: RecordType): Promise<NameRecord[]> {
    const resolver = this.#resolver;
    switch (type) {
      case 'A':
        return withTtl(type, await resolver.resolve4(name, { ttl: true }));
      case 'AAAA':
        return withTtl(type, await resolver.resolve6(name, { ttl: true }));
      case 'CNAME':
        return plain(type, await resolver.resolveCname(name));
      case 'TXT':
        return plain(type, await resolver.resolveTxt(name));
      case 'MX': {
        const rows = await resolver.resolveMx(name);
        return plain(
          type,
          rows.map(({ priority, exchange }) => ({ preference: priority, exchange })),
        );
      }
      case 'SRV': {
        const rows = await resolver.resolveSrv(name);
        return plain(
          type,
          rows.map(({ name: target, ...row }) => ({ ...row, target })),
        );
      }
    }
  }
}

function withTtl(type: RecordType, rows: { address: string; ttl: number }[]): NameRecord[] {
  return rows.map(({ address, ttl }) => ({ type, ttl, data: address }));
}

function plain(type: RecordType, rows: readonly unknown[]): NameRecord[] {
  return rows.map((data) => ({ type, ttl: TTL_UNKNOWN, data }));
}
