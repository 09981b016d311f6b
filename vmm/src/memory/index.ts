export { GuestFault } from './guest-fault.js';
export { type Gpa, GuestRam, gpa, offsetGpa } from './guest-ram.js';
export { openUnnamed } from './unnamed-file.js';
