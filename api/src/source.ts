/** From what the user wrote to one ES module that Node can load without a node_modules folder. */
import { readFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { basename, dirname, resolve } from 'node:path';
import type { BuildFailure, BuildOptions, BuildResult, Location, Plugin } from 'esbuild';
import { metadataWarnings } from './decorator-metadata.js';
import { ApiError } from './errors.js';
import { nativePackages } from './native-packages.js';

/** What CommonJS has and ES modules have not, for sources and packages that were written for it: `require` of the built-in modules. */
const BANNER =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

const PACKAGE = /(^|\/)node_modules\//;

const NATIVE_ADVICE = 'a server ("runtime": "http") brings node_modules with "bundle": false';

/** Only where the source has no variable of this name itself. */
const COMMONJS_PLACES = {
  __filename: 'import.meta.filename',
  __dirname: 'import.meta.dirname',
};

const COMMON = {
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  write: false,
  logLevel: 'silent',
  legalComments: 'none',
  // Stacks name the files that the user wrote; their text is not needed for that.
  sourcemap: 'inline',
  sourcesContent: false,
  banner: { js: BANNER },
  define: COMMONJS_PLACES,
} satisfies BuildOptions;

/**
 * Checks and bundles a source that came over the network. It may import Node's built-in modules and nothing else: in
 * particular no file of the server.
 *
 * @param name what error messages call the source
 * @throws ApiError MAYFLY_SOURCE_INVALID with the place in the source
 */
export async function bundleSource(source: string, name: string): Promise<string> {
  const { outputFiles } = await built({
    ...COMMON,
    stdin: { contents: source, sourcefile: name, loader: 'js' },
    absWorkingDir: '/',
    outdir: '/',
    tsconfigRaw: '{}',
    plugins: [builtinsOnly],
  });
  return outputFiles?.[0]?.text ?? '';
}

/** A local file in one module with everything that it imports. */
export interface Bundle {
  module: string;
  /** What a user should know of it before it is deployed. */
  warnings: string[];
  /** The files that were read, those of packages left out. */
  sources: string[];
}

/**
 * Bundles a local file (JavaScript or TypeScript) with everything that it imports, for deploying it.
 *
 * @throws ApiError MAYFLY_SOURCE_INVALID with the place in the source
 */
export function bundleFile(path: string): Promise<Bundle> {
  return bundleLocal(path, { banner: {}, define: {} });
}

/**
 * Bundles a local file with everything that it imports into a module that Node.js runs as it is.
 *
 * @throws ApiError MAYFLY_SOURCE_INVALID with the place in the source
 */
export function bundleProgram(path: string): Promise<Bundle> {
  return bundleLocal(path, {});
}

async function bundleLocal(
  path: string,
  options: Pick<BuildOptions, 'banner' | 'define'>,
): Promise<Bundle> {
  // The map has paths relative to outdir, and Node.js finds them relative to the module in the guest.
  const outdir = dirname(path);
  const result = await built({
    ...COMMON,
    entryPoints: [path],
    outdir,
    metafile: true,
    plugins: [noAddons, packagesWithoutMaps],
    ...options,
  });
  const inputs = Object.keys(result.metafile?.inputs ?? {});
  return {
    module: result.outputFiles?.[0]?.text ?? '',
    warnings: [
      ...result.warnings.map(({ text, location }) => `${placeOf(location)}${text}`),
      ...(await nativePackages(inputs)).map(
        (name) => `${name} has native code, which no bundle has: ${NATIVE_ADVICE}`,
      ),
      ...(await metadataWarnings(inputs)),
    ],
    sources: inputs.filter((path) => !PACKAGE.test(path)).map((path) => resolve(path)),
  };
}

async function built(options: BuildOptions & { write: false }): Promise<BuildResult> {
  try {
    const { build } = await import('esbuild'); // nothing but a deployment needs it
    return await build(options);
  } catch (error) {
    throw sourceError(error as BuildFailure);
  }
}

function sourceError(failure: BuildFailure): Error {
  const first = failure.errors?.[0];
  if (!first) return failure;
  if (!first.location) return new ApiError('MAYFLY_SOURCE_INVALID', first.text, { cause: failure });
  const { line, column, lineText } = first.location;
  const location = { line, column: column + 1, lineText: lineText.slice(0, 200) };
  const message = `${placeOf(first.location)}${first.text}`;
  return new ApiError('MAYFLY_SOURCE_INVALID', message, { location, cause: failure });
}

function placeOf(location: Location | null): string {
  return location ? `${location.file}:${location.line}:${location.column + 1}: ` : '';
}

/** Add-ons are loaded from files, and a bundle has none. */
const noAddons: Plugin = {
  name: 'no-addons',
  setup(build) {
    build.onLoad({ filter: /\.node$/ }, ({ path }) => {
      const text = `${basename(path)} is a native add-on, which no bundle has: use WebAssembly or a package in JavaScript; ${NATIVE_ADVICE}`;
      return { errors: [{ text }] };
    });
  },
};

/** A source map for all of a file: whatever it is, it comes from the file's start. */
const NO_MAP = `\n//# sourceMappingURL=data:application/json;base64,${Buffer.from('{"version":3,"sources":[""],"mappings":"AAAA"}').toString('base64')}`;

/**
 * Stacks name files of packages, but not their lines: the map is decoded in each clone that asks for a stack, which takes no time
 * for a function's own files and could take half a second for its packages'.
 */
const packagesWithoutMaps: Plugin = {
  name: 'packages-without-maps',
  setup(build) {
    build.onLoad({ filter: /[\\/]node_modules[\\/].*\.[cm]?js$/ }, async ({ path }) => ({
      contents: (await readFile(path, 'utf8')) + NO_MAP,
      loader: 'js',
    }));
  },
};

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
