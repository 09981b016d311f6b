export { withPort } from './address.js';
export { type Denial, denialText } from './denial.js';
export {
  checkRules,
  Egress,
  type EgressOptions,
  type EgressStats,
  NO_EGRESS,
} from './egress.js';
export { narrowed } from './narrow.js';
export { HostResolver, type NameResolver } from './resolver.js';
export {
  type IngressStats,
  type PublishedPort,
  WayIn,
  type WayInOptions,
} from './way-in.js';
export { WayOut } from './way-out.js';
