/** What decorators want to know of types, which a bundle has not: esbuild compiles files without looking at types. */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { getTsconfig } from 'get-tsconfig';

const TYPESCRIPT = /^(?!.*\bnode_modules\/).*\.[cm]?tsx?$/;
/** At the start of a line, where that of a class or of its members is. */
const DECORATOR = /^[ \t]*(export[ \t]+(default[ \t]+)?)?@[\p{L}_$]/mu;

/**
 * @param inputs paths of the files in the bundle, relative to the working directory
 * @returns a warning for each tsconfig.json that asks for the metadata of files with decorators
 */
export async function metadataWarnings(inputs: readonly string[]): Promise<string[]> {
  const cache = new Map();
  const told = new Map<string, string>();
  for (const path of inputs.filter((path) => TYPESCRIPT.test(path))) {
    const config = configOf(path, cache);
    if (config === undefined || told.has(config)) continue;
    if (DECORATOR.test(await readFile(path, 'utf8').catch(() => ''))) told.set(config, path);
  }
  return [...told].map(
    ([config, path]) =>
      `${path}: the types that emitDecoratorMetadata in ${config} asks for are not in a bundle; decorators that need them (NestJS, TypeORM) fail. Compile with tsc or swc, and deploy the JavaScript as a server ("runtime": "http") with "bundle": false`,
  );
}

/** The tsconfig.json that counts for a file, if it asks for metadata. */
function configOf(path: string, cache: Map<string, unknown>): string | undefined {
  try {
    const found = getTsconfig(dirname(resolve(path)), 'tsconfig.json', cache);
    return found?.config.compilerOptions?.emitDecoratorMetadata ? found.path : undefined;
  } catch {
    return undefined; // esbuild says what is wrong with it
  }
}
