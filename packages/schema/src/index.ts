/**
 * TypeBox, of which npm run setup makes one file: as the 680 modules that it comes in, Node.js needs longer to find them
 * than for everything else of a server's start together (bench: cli-start).
 */
export * from 'typebox';
export { Compile } from 'typebox/compile';
export type { TLocalizedValidationError } from 'typebox/error';
export { Value } from 'typebox/value';
export { clearestError } from './clearest-error.js';
