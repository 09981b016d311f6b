export {
  defaultLimits,
  SCHEDULING_SETTINGS,
  ScheduledPool,
  type ScheduledTemplate,
} from './scheduled-pool.js';
export { Scheduler } from './scheduler.js';
export type * from './types.js';
