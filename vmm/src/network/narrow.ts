/** Whether rules open nothing that other rules do not. What is not certain counts as more. */
import { MayflyError } from '@mayfly/protocol';
import { contains, delicateNetwork } from './address.js';
import {
  hasPort,
  matchesName,
  type NameRule,
  type NetworkRule,
  parseRule,
  type Rule,
} from './rule.js';

/**
 * `wanted`, when `given` covers it. Throws MAYFLY_NETWORK_RULE for a wrong rule, and MAYFLY_NETWORK_WIDER for one that opens
 * more; `who` has the given ones.
 */
export function narrowed(
  given: readonly string[],
  wanted: readonly string[],
  who: string,
): readonly string[] {
  const rules = given.map(parseRule);
  for (const text of wanted) {
    if (isCovered(parseRule(text), rules)) continue;
    const what = given.length === 0 ? 'nothing' : given.join(' ');
    const message = `the rule ${text} opens more than ${who}, which may connect to ${what}: give these rules or narrower ones`;
    throw new MayflyError('MAYFLY_NETWORK_WIDER', message);
  }
  return wanted;
}

/** Each of its ports has to be one of a rule that covers its hosts. */
function isCovered(rule: Rule, by: readonly Rule[]): boolean {
  const rules = by.filter((wide) => coversHosts(wide, rule));
  return (rule.ports ?? [[1, 65_535]]).every(([first, last]) => {
    for (let port = first; port <= last; port++) {
      if (!rules.some((wide) => hasPort(wide, port))) return false;
    }
    return true;
  });
}

function coversHosts(wide: Rule, rule: Rule): boolean {
  switch (wide.kind) {
    case 'host':
      return rule.kind === 'host';
    case 'any': // public addresses only, and never this host's own: no rule for an address is surely within it
      return rule.kind === 'any' || rule.kind === 'name';
    case 'name':
      return rule.kind === 'name' && coversNames(wide, rule);
    case 'network':
      return rule.kind === 'network' && coversAddresses(wide, rule);
  }
}

function coversNames(wide: NameRule, rule: NameRule): boolean {
  if (!rule.below) return matchesName(wide, rule.name);
  return wide.below && (rule.name === wide.name || rule.name.endsWith(`.${wide.name}`));
}

/** A wide network's rule leaves the delicate addresses in it closed. */
function coversAddresses({ network: wide }: NetworkRule, { network: [base, prefix] }: NetworkRule) {
  if (prefix < wide[1] || !contains(wide, base)) return false;
  const delicate = delicateNetwork(base);
  return !delicate || (wide[1] >= delicate[1] && contains(delicate, wide[0]));
}
