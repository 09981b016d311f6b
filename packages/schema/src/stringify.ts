/** JSON by schema, in one file for the same reason. It brings a validator of its own, and only answers need it. */
export { default as build, type Schema } from 'fast-json-stringify';
