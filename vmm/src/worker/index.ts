/** Templates, clones and the tasks of a worker, for those who drive them on a thread of their own. */
export { newIdentity } from '../machine/identity.js';
export { Supplies } from '../machine/supplies.js';
export { boot } from './boot.js';
export { Clone } from './clone.js';
export { CLONE_SETTINGS, type CloneSettings } from './clone-settings.js';
export type { Guest, GuestListener } from './guest.js';
export type { BootTask, Task } from './messages.js';
export { Stock } from './stock.js';
export { type Guests, poolTasks } from './tasks.js';
export type { Template } from './template.js';
