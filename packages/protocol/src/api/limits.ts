/** What a deployment may bring. Without the schemas, for who needs none. */
const MIB = 1024 * 1024;

export const FILES_MAX = 10_000;
/** Of all files together. */
export const FILES_BYTES_MAX = 256 * MIB;
/** Of a deployment as it is sent: an archive, or JSON. */
export const DEPLOYMENT_BYTES_MAX = 64 * MIB;
