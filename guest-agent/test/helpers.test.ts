/** The helpers for programs that ask for checkpoints, as plain processes of this host: a file says "clone" or "original". */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { helperPaths } from '../src/index.js';

const dir = mkdtempSync(join(tmpdir(), 'mayfly-helpers-'));
t.teardown(() => rmSync(dir, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

function run(command: string, args: string[], env: Record<string, string> = {}): string {
  const { PATH = '' } = process.env;
  const options = { encoding: 'utf8', env: { PATH, ...env } } as const;
  const { status, stdout, stderr } = spawnSync(command, args, options);
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stderr}`);
  return stdout;
}

const SIDES = {
  original: file('original', 'original\n'),
  clone: file('clone', 'clone\n'),
  nobody: join(dir, 'absent'),
};

/** What a program prints on each side of a checkpoint. */
function sides(command: string, args: string[]): Record<keyof typeof SIDES, string> {
  const on = (side: keyof typeof SIDES) => run(command, args, { MAYFLY_CHECKPOINT: SIDES[side] });
  return { original: on('original'), clone: on('clone'), nobody: on('nobody') };
}

t.test('Node.js', async (t) => {
  const program = file(
    'program.mjs',
    `import { afterClone, checkpoint, generation } from ${JSON.stringify(helperPaths.node)};
    import { strict as assert } from 'node:assert';
    const said = [];
    afterClone(({ generation }) => void said.push('first' + generation));
    setImmediate(() => said.push('other code'));
    afterClone(async () => { await null; said.push('second'); });
    assert.throws(() => afterClone('text'), TypeError);
    said.push(await checkpoint(), generation());
    console.log(said.join(' '));`,
  );
  const said = sides(process.execPath, [program]);
  t.same(said, { original: 'original \n', clone: 'first second clone \n', nobody: 'original \n' });
});

t.test('Python', async (t) => {
  const program = file(
    'program.py',
    `import sys
sys.path.insert(0, ${JSON.stringify(dirname(helperPaths.python))})
import mayfly, random, uuid
random.seed(1)
uuid.uuid1()
@mayfly.after_clone
def first(generation): print('first', end=generation + ' ')
@mayfly.after_clone
async def second(generation): print('second', end=' ')
try: mayfly.after_clone('text')
except TypeError: pass
else: print('no error')
side = mayfly.checkpoint()
seeded = random.random() != random.Random(1).random()
print(side, mayfly.generation() + ('seeded' if seeded else 'kept'), uuid.uuid1().version)
`,
  );
  t.same(sides('python3', ['-B', program]), {
    original: 'original kept 1\n',
    clone: 'first second clone seeded 1\n',
    nobody: 'original kept 1\n',
  });
});

for (const [language, compiler, standard] of [
  ['C', 'gcc', '-std=c17'],
  ['C++', 'g++', '-std=c++17'],
] as const) {
  t.test(language, async (t) => {
    const ending = language === 'C' ? 'c' : 'cpp';
    const other = file(
      `other.${ending}`,
      `#include "mayfly-checkpoint.h"
      #include <stdio.h>
      static void second(void *argument) { printf("second %s ", (const char *)argument); }
      int more(void);
      int more(void) { return mayfly_after_clone(second, (void *)"of another file"); }`,
    );
    const main = file(
      `main.${ending}`,
      `#include "mayfly-checkpoint.h"
      #include <stdio.h>
      int more(void);
      static int calls;
      static void first(void *argument) { ++*(int *)argument; printf("first "); }
      int main(void) {
        if (mayfly_after_clone(first, &calls) != 0 || more() != 0) return 1;
        int side = mayfly_checkpoint();
        printf("%d %d %llu\\n", side, calls, mayfly_generation());
        while (mayfly_after_clone(first, &calls) == 0) {}
        return mayfly_after_clone(first, &calls) == -ENOSPC ? 0 : 2;
      }`,
    );
    const program = join(dir, `program-${ending}`);
    const flags = [standard, '-Wall', '-Wextra', '-Werror', '-O1', '-I', dirname(helperPaths.c)];
    run(compiler, [...flags, '-o', program, main, other]);
    t.same(sides(program, []), {
      original: '0 0 0\n',
      clone: 'first second of another file 1 1 0\n',
      nobody: '0 0 0\n',
    });
  });
}
