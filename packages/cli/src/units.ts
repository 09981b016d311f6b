/** Sizes, durations and pairs as people type them. */
import { posix, resolve } from 'node:path';
import { InvalidArgumentError } from 'commander';

const SIZE_UNITS: Record<string, number> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };
const TIME_UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
/** What a timer can wait for: 2^31 - 1 milliseconds. */
const TIMER_MS_MAX = 2_147_483_647;

/** '256M' → bytes. Units are K, M and G, powers of 1024. */
export function parseSize(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,9}(?:\.\d+)?)([KMG]?)(?:i?B)?$/i.exec(text) ?? [];
  const scale = SIZE_UNITS[unit.toUpperCase()];
  if (digits === undefined || scale === undefined) {
    throw new InvalidArgumentError('A size is a number with K, M or G, for example 256M.');
  }
  return Math.round(Number(digits) * scale);
}

/** '10s' → milliseconds. Units are ms, s, m and h; no unit means seconds. */
export function parseDuration(text: string): number {
  const [, digits, unit = 's'] = /^(\d{1,9}(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  const ms = Math.round(Number(digits) * (TIME_UNITS[unit] ?? Number.NaN));
  if (!(ms > 0)) {
    throw new InvalidArgumentError('A duration is a number with ms, s, m or h, for example 10s.');
  }
  if (ms > TIMER_MS_MAX) throw new InvalidArgumentError('No duration is longer than 596h.');
  return ms;
}

/** A number from 1. */
export function parseCount(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is a number from 1.');
}

export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) {
    throw new InvalidArgumentError('A port is a number from 0 (any free one) to 65535.');
  }
  return port;
}

/** USER or USER:GROUP, each a name or a number; looked up in the guest's root. */
export function parseUser(text: string): string {
  if (/^[^:\0]+(:[^:\0]+)?$/.test(text)) return text;
  throw new InvalidArgumentError(
    'A user is USER or USER:GROUP, for example 1000:1000 or www-data.',
  );
}

/** Collects repeated KEY=VALUE options. */
export function parseEnv(
  text: string,
  before: Record<string, string> = {},
): Record<string, string> {
  const equals = text.indexOf('=');
  if (equals < 1) throw new InvalidArgumentError('An environment variable is KEY=VALUE.');
  return { ...before, [text.slice(0, equals)]: text.slice(equals + 1) };
}

/** Collects repeated HOST:GUEST options; the guest path is absolute, and may be left out when it is the host's. */
export function parseDir(
  text: string,
  before: { host: string; guest: string }[] = [],
): { host: string; guest: string }[] {
  const colon = text.lastIndexOf(':');
  const host = resolve(colon === -1 ? text : text.slice(0, colon));
  const guest = colon === -1 ? host : text.slice(colon + 1);
  if (text === '' || colon === 0 || !guest.startsWith('/')) {
    throw new InvalidArgumentError('A folder is HOST:GUEST, the guest path absolute: .:/work.');
  }
  const normal = posix.normalize(guest);
  return [...before, { host, guest: normal === '/' ? '/' : normal.replace(/\/$/, '') }];
}

/** Collects a repeated option. */
export function repeated(text: string, before: string[] | false = []): string[] {
  return [...(before || []), text];
}

export function formatSize(bytes: number): string {
  if (bytes >= 2 ** 30) return `${trimmed(bytes / 2 ** 30)}G`;
  if (bytes >= 2 ** 20) return `${trimmed(bytes / 2 ** 20)}M`;
  return `${trimmed(bytes / 2 ** 10)}K`;
}

function trimmed(value: number): string {
  return value.toFixed(1).replace(/\.0$/, '');
}
