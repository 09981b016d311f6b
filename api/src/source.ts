/** From what the user wrote to one ES module that Node can load without a node_modules folder. */
import { isBuiltin } from 'node:module';
import { type BuildFailure, type BuildOptions, build, type Plugin } from 'esbuild';
import { ApiError } from './errors.js';

/** `require` of the built-in modules works in ES modules too, for sources and packages that are CommonJS. */
const BANNER =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire('/function/');";

const COMMON = {
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  write: false,
  logLevel: 'silent',
  legalComments: 'none',
  banner: { js: BANNER },
} satisfies BuildOptions;

/**
 * Checks and bundles a source that came over the network. It may import Node's built-in modules and nothing else: in
 * particular no file of the server.
 *
 * @param name what error messages call the source
 * @throws ApiError MAYFLY_SOURCE_INVALID with the place in the source
 */
export async function bundleSource(source: string, name: string): Promise<string> {
  return bundle({
    ...COMMON,
    stdin: { contents: source, sourcefile: name, loader: 'js' },
    absWorkingDir: '/',
    tsconfigRaw: '{}',
    plugins: [builtinsOnly],
  });
}

/**
 * Bundles a local file (JavaScript or TypeScript) with everything that it imports, for deploying it.
 *
 * @throws ApiError MAYFLY_SOURCE_INVALID with the place in the source
 */
export async function bundleFile(path: string): Promise<string> {
  return bundle({ ...COMMON, entryPoints: [path], banner: {} });
}

/**
 * Bundles a local file with everything that it imports into a module that Node.js runs as it is.
 *
 * @throws ApiError MAYFLY_SOURCE_INVALID with the place in the source
 */
export async function bundleProgram(path: string): Promise<string> {
  return bundle({ ...COMMON, entryPoints: [path] });
}

async function bundle(options: BuildOptions & { write: false }): Promise<string> {
  try {
    const { outputFiles } = await build(options);
    return outputFiles?.[0]?.text ?? '';
  } catch (error) {
    throw sourceError(error as BuildFailure);
  }
}

function sourceError(failure: BuildFailure): Error {
  const first = failure.errors?.[0];
  if (!first) return failure;
  if (!first.location) return new ApiError('MAYFLY_SOURCE_INVALID', first.text, { cause: failure });
  const { file, line, column, lineText } = first.location;
  const location = { line, column: column + 1, lineText: lineText.slice(0, 200) };
  const message = `${file}:${line}:${column + 1}: ${first.text}`;
  return new ApiError('MAYFLY_SOURCE_INVALID', message, { location, cause: failure });
}

const builtinsOnly: Plugin = {
  name: 'builtins-only',
  setup(build) {
    build.onResolve({ filter: /.*/ }, ({ path, kind }) => {
      if (kind === 'entry-point') return undefined;
      if (isBuiltin(path)) return { path, external: true };
      const text = `cannot import "${path}": a deployed source has Node's built-in modules only (\`mayfly deploy\` bundles the rest)`;
      return { errors: [{ text }] };
    });
  },
};
