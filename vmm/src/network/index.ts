export { checkRules, denialText, Egress, type EgressOptions, type EgressStats } from './egress.js';
export type { Denial } from './policy.js';
export { HostResolver, type NameResolver } from './resolver.js';
