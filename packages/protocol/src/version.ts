/** Of this build: what `mayfly --version` prints and a server tells. Equal to that of package.json. */
export const VERSION = '0.1.0';
