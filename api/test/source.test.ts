/** What becomes of a function's source: one module that runs without its packages, and stacks that name what the user wrote. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { bundleFile, bundleProgram, bundleSource } from '../src/source.js';

type Test = { testdir(): string };

function folderWith(t: Test, files: Record<string, string>): string {
  const folder = t.testdir();
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

function run(folder: string, module: string): string {
  const path = join(folder, 'out.mjs');
  writeFileSync(path, module);
  return execFileSync(process.execPath, ['--enable-source-maps', path], { encoding: 'utf8' });
}

const THROWING = {
  'index.ts': `import { deep } from './lib/deep.js';
interface Unused { a: number }
try {
  deep(1 as number);
} catch (error) {
  console.log((error as Error).stack);
}`,
  'lib/deep.ts': `type N = number;

// a comment
export function deep(n: N): never {
  throw new Error(String(n));
}`,
};

t.test(
  'stacks name the files and lines that were bundled, through both bundles of a deployment',
  async (t) => {
    const folder = folderWith(t, THROWING);
    const { module, warnings } = await bundleFile(join(folder, 'index.ts'));
    t.same(warnings, []);
    for (const bundle of [module, await bundleSource(module, 'f.js')]) {
      const stack = run(folder, bundle);
      t.match(stack, `${join(folder, 'lib/deep.ts')}:5:9`);
      t.match(stack, `${join(folder, 'index.ts')}:4:3`);
    }
  },
);

t.test('of packages, stacks name the files only', async (t) => {
  const folder = folderWith(t, {
    'index.js': `import { call } from 'p';\n\ntry { call(() => { throw new Error('x'); }); } catch (e) { console.log(e.stack); }`,
    'node_modules/p/package.json': '{"name":"p","main":"lib/i.js"}',
    'node_modules/p/lib/i.js': '// one\n\nexports.call = (f) => {\n  f();\n};',
  });
  const { module } = await bundleFile(join(folder, 'index.js'));
  for (const bundle of [module, await bundleSource(module, 'f.js')]) {
    const stack = run(folder, bundle);
    t.match(stack, `${join(folder, 'index.js')}:3:26`);
    t.match(stack, `${join(folder, 'node_modules/p/lib/i.js')}:1:1`);
  }
});

t.test('what CommonJS knows is there, unless the source has its own', async (t) => {
  const folder = folderWith(t, {
    'index.mjs': `import { createRequire } from 'node:module';
      import { places } from './old.cjs';
      const require = createRequire(import.meta.url);
      const __dirname = 'mine';
      console.log(JSON.stringify([__dirname, typeof require('node:fs').stat, ...places]));`,
    'old.cjs': `const { sep } = require('node:path');
      exports.places = [__dirname, __filename, sep];`,
  });
  const { module } = await bundleProgram(join(folder, 'index.mjs'));
  const deployed = await bundleSource((await bundleFile(join(folder, 'index.mjs'))).module, 'f.js');
  for (const bundle of [module, deployed]) {
    const places = [folder, join(folder, 'out.mjs'), '/'];
    t.same(JSON.parse(run(folder, bundle)), ['mine', 'function', ...places]);
  }
});

t.test('types for decorators, which no bundle has, are missed aloud', async (t) => {
  const decorated =
    'export @d\nclass A { constructor(readonly of: Date) {} }\nfunction d(_: unknown) {}';
  const folder = folderWith(t, {
    'base.json': '{ "compilerOptions": { "emitDecoratorMetadata": true, /* both */ } }',
    'tsconfig.json':
      '{ "extends": "./base.json", "compilerOptions": { "experimentalDecorators": true } }',
    'main.ts': `import './a.js'; import './b.js'; export const handler = () => 1;`,
    'a.ts': `export {}; /**\n * @param x */ const mail = 'a@b';`,
    'b.ts':
      'const d = (_: unknown) => {};\n@d\nexport class B { constructor(readonly of: Date) {} }',
    'plain/tsconfig.json': '{ "compilerOptions": { "experimentalDecorators": true } }',
    'plain/main.ts': decorated,
    'js/main.js': 'export const handler = () => 1;',
  });
  const { warnings } = await bundleFile(join(folder, 'main.ts'));
  t.equal(warnings.length, 1, 'one for all files of a tsconfig.json');
  t.match(
    warnings[0],
    /b\.ts: .*emitDecoratorMetadata in .*\/tsconfig\.json .*tsc or swc.*"bundle": false/,
  );
  for (const file of ['a.ts', 'plain/main.ts', 'js/main.js']) {
    t.same((await bundleFile(join(folder, file))).warnings, [], `${file} needs none`);
  }
});

t.test('packages with native code are named, add-ons refused', async (t) => {
  const folder = folderWith(t, {
    'index.js': `import 'gyp'; import '@a/loads/file.js'; import 'plain'; import 'prebuilt';`,
    'addon.js': `import './x.node';`,
    'x.node': '',
    'node_modules/gyp/package.json': '{"name":"gyp","main":"index.js"}',
    'node_modules/gyp/index.js': '',
    'node_modules/gyp/binding.gyp': '',
    'node_modules/@a/loads/package.json': '{"name":"@a/loads","dependencies":{"bindings":"1"}}',
    'node_modules/@a/loads/file.js': '',
    'node_modules/plain/package.json': '{"name":"plain","main":"index.js"}',
    'node_modules/plain/index.js': '',
    'node_modules/prebuilt/package.json':
      '{"name":"prebuilt","main":"index.js","optionalDependencies":{"@b/prebuilt-linux-x64":"1"}}',
    'node_modules/prebuilt/index.js': '',
  });
  const { warnings } = await bundleFile(join(folder, 'index.js'));
  t.same(
    warnings.map((warning) => warning.split(' ')[0]),
    ['@a/loads', 'gyp', 'prebuilt'],
  );
  t.match(warnings[0], /native code/);
  await t.rejects(bundleFile(join(folder, 'addon.js')), {
    code: 'MAYFLY_SOURCE_INVALID',
    message: /addon\.js:1:8: x\.node is a native add-on/,
  });
});
