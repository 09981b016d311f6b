export interface Denial {
  /** What the guest wanted: a name, or address and port. */
  target: string;
  reason: string;
  /** The least rule that would allow it; undefined when none would. */
  rule: string | undefined;
}

/** One line for a person: what was refused, why, and what would allow it. `option`: how rules are given. */
export function denialText({ target, reason, rule }: Denial, option: string): string {
  const hint = rule === undefined ? '' : `; ${option} ${rule} would allow it`;
  return `network: ${target} is not allowed: ${reason}${hint}`;
}
