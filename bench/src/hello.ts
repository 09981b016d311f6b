/** What every server and every peer answers. */
export const ANSWER = 'hello\n';

/** As a module for what has fetch(). */
export const SOURCE = `export default { fetch: () => new Response(${JSON.stringify(ANSWER)}) };`;

/** As a script for engines that know JavaScript only; its value is the answer. */
export const SCRIPT = `(() => ${JSON.stringify(ANSWER)})()`;
