export { Scheduler } from './scheduler.js';
export type * from './types.js';
