import { type BigIntStats, lstatSync } from 'node:fs';

/** A file changed this recently might change again within the same time stamp. */
const SETTLED_MS = 2000;
/** More than a program with its libraries needs; what needs more is not worth remembering. */
const SIGHTINGS_MAX = 1000;

const ABSENT = '-';

/** What tells two states of a file, or of a folder's names, apart without reading it. */
export function stateOf(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
}

/** Whether a change after `stat` would show in stateOf. */
export function isSettled(stat: BigIntStats): boolean {
  return Date.now() - Number(stat.ctimeNs / 1_000_000n) > SETTLED_MS;
}

/** Of a folder on the way to something only its being there and its mode count, not what else lies in it. */
const sightingOf = (stat: BigIntStats | undefined): string => {
  if (stat === undefined) return ABSENT;
  return stat.isDirectory() ? `dir ${stat.mode}` : stateOf(stat);
};

const namesSighting = (stat: BigIntStats): string => `names ${stateOf(stat)}`;

/** What was looked at on the host, so that a later process can see whether it would find the same. */
export class Sightings {
  readonly #seen = new Map<string, string>();
  #whole = true;

  add(hostPath: string, stat: BigIntStats | undefined): void {
    if (stat !== undefined && !stat.isDirectory() && !isSettled(stat)) this.#whole = false;
    this.#seen.set(hostPath, sightingOf(stat));
    if (this.#seen.size > SIGHTINGS_MAX) this.#whole = false;
  }

  /** The names in a folder were listed. */
  addNames(hostPath: string, stat: BigIntStats): void {
    if (!isSettled(stat)) this.#whole = false;
    this.#seen.set(hostPath, namesSighting(stat));
  }

  /** undefined when they do not tell all. */
  get list(): [hostPath: string, sighting: string][] | undefined {
    return this.#whole ? [...this.#seen] : undefined;
  }
}

/** Whether the host still looks as it did. */
export function stillSeen(list: readonly (readonly [string, string])[]): boolean {
  return list.every(([hostPath, sighting]) => {
    const stat = lstatSync(hostPath, { bigint: true, throwIfNoEntry: false });
    if (stat?.isDirectory() && sighting.startsWith('names ')) {
      return namesSighting(stat) === sighting;
    }
    return sightingOf(stat) === sighting;
  });
}
