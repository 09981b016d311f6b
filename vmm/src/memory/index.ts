export { GuestFault } from './guest-fault.js';
export { type Gpa, GuestRam, gpa, offsetGpa } from './guest-ram.js';
