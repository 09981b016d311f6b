/** Programs that ask for a checkpoint with the helpers of guest-agent: what must differ differs in each clone. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ImageStore, treeFromPrograms } from '@mayfly/image';
import type * as Tap from 'tap';
import t from 'tap';
import { CheckpointStore, cloneMachine, runToMoment } from '../../src/checkpoint/index.js';
import { bootMachine } from '../../src/machine/factory.js';
import { runToEnd } from '../../src/machine/run-to-end.js';
import { compile, imageDir } from '../machine/guest.js';
import { scratchDir } from './scratch.js';

const CLONES = 3;
const TIMEOUT_MS = 120_000;

const agentFile = (path: string) =>
  fileURLToPath(new URL(`../../../../guest-agent/${path}`, import.meta.url));

const dir = scratchDir();
t.teardown(() => dir.remove());
const store = await CheckpointStore.open(join(dir.path, 'store'));

interface Program {
  path: string;
  args: string[];
  /** What is to lie in the guest besides, by its path there. */
  files?: Record<string, string>;
}

/** Runs it to its checkpoint, then the original and some clones to their ends; what each printed, as JSON. */
async function lives(name: string, { path, args, files = {} }: Program): Promise<Life[]> {
  const extra = Object.entries(files).map(([guestPath, hostPath]) => ({ guestPath, hostPath }));
  const images = await ImageStore.open(imageDir);
  const image = await images.build(await treeFromPrograms([{ path }], { extra }));
  const printed: string[] = [];
  const newConsole = () => {
    const at = printed.push('') - 1;
    const add = (chunk: Uint8Array) => {
      printed[at] += Buffer.from(chunk).toString('latin1');
    };
    return { stdout: add, stderr: add };
  };
  const argv = [path, ...args];
  const machine = bootMachine({
    program: path,
    argv,
    env: {},
    cwd: '/',
    images: [image.path],
    memoryBytes: 256 << 20,
    console: newConsole(),
  });
  machine.devices.console.endInput();
  const state = await runToMoment(machine, 'asked', { timeoutMs: TIMEOUT_MS });
  await store.create(
    { name },
    { memory: machine.memory, state, images: [image.path], command: argv },
  );
  await runToEnd(machine, { timeoutMs: TIMEOUT_MS });
  machine.close();
  const loaded = await store.load(name);
  for (let i = 0; i < CLONES; i++) {
    const clone = cloneMachine(loaded, newConsole());
    await runToEnd(clone, { timeoutMs: TIMEOUT_MS });
    clone.close();
  }
  loaded.close();
  return printed.map((text) => JSON.parse(text) as Life);
}

interface Life {
  side: string;
  /** Hooks that ran, in order. */
  hooks: string[];
  /** Values that no two lives may share. */
  unique: Record<string, unknown>;
}

async function differ(t: Tap.Test, name: string, program: Program): Promise<void> {
  const all = await lives(name, program);
  t.same(
    all.map(({ side, hooks }) => [side, ...hooks]),
    [['original'], ...Array.from({ length: CLONES }, () => ['clone', 'first', 'second'])],
  );
  for (const key of Object.keys(all[0]!.unique)) {
    t.equal(new Set(all.map(({ unique }) => unique[key])).size, CLONES + 1, key);
  }
}

t.test('Node.js', async (t) => {
  const program = join(dir.path, 'program.mjs');
  writeFileSync(
    program,
    `import { afterClone, checkpoint, generation } from '/mayfly.cjs';
    import crypto from 'node:crypto';
    import { mkdtempSync, readFileSync } from 'node:fs';
    const hooks = [];
    afterClone(() => void hooks.push('first'));
    afterClone(async () => { await null; hooks.push('second'); });
    for (let i = 0; i < 3; i++) [Math.random(), crypto.randomUUID(), crypto.randomInt(9), process.pid];
    const side = await checkpoint();
    const unique = {
      generation: generation(),
      pid: process.pid,
      random: Math.random(),
      bytes: crypto.randomBytes(16).toString('hex'),
      uuid: crypto.randomUUID(),
      int: crypto.randomInt(2 ** 48 - 1),
      folder: mkdtempSync('/tmp/'),
      machine: readFileSync('/etc/machine-id', 'latin1'),
    };
    console.log(JSON.stringify({ side, hooks, unique }));`,
  );
  const files = { '/program.mjs': program, '/mayfly.cjs': agentFile('dist/mayfly.cjs') };
  await differ(t, 'node', { path: process.execPath, args: ['/program.mjs'], files });
});

t.test('Python', async (t) => {
  const program = join(dir.path, 'program.py');
  writeFileSync(
    program,
    `import json, mayfly, os, random, secrets, tempfile, uuid
hooks = []
@mayfly.after_clone
def first(generation): hooks.append('first')
@mayfly.after_clone
async def second(generation): hooks.append('second')
before = [random.random(), uuid.uuid1(), uuid.uuid4(), tempfile.mkdtemp(), os.getpid()]
side = mayfly.checkpoint()
unique = {
    'generation': mayfly.generation(),
    'pid': os.getpid(),
    'random': random.random(),
    'uuid1': uuid.uuid1().node,
    'uuid4': str(uuid.uuid4()),
    'secret': secrets.token_hex(),
    'folder': tempfile.mkdtemp(),
}
print(json.dumps({'side': side, 'hooks': hooks, 'unique': unique}))
`,
  );
  const files = { '/program.py': program, '/mayfly.py': agentFile('src/python/mayfly.py') };
  await differ(t, 'python', { path: '/usr/bin/python3', args: ['-B', '/program.py'], files });
});

t.test('C', async (t) => {
  const source = join(dir.path, 'program.c');
  writeFileSync(
    source,
    `${readFileSync(agentFile('include/mayfly-checkpoint.h'), 'utf8')}
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
static char said[64];
static void say(void *text) { sprintf(said + strlen(said), "%s\\"%s\\"", said[0] ? "," : "", (char *)text); }
static void seed(void *none) {
  unsigned fresh;
  getrandom(&fresh, sizeof fresh, 0);
  srandom(fresh);
  say("first");
}
int main(void) {
  mayfly_after_clone(seed, 0);
  mayfly_after_clone(say, "second");
  long before = random();
  int side = mayfly_checkpoint();
  char name[] = "/tmp/XXXXXX";
  printf("{\\"side\\":\\"%s\\",\\"hooks\\":[%s],\\"unique\\":{\\"generation\\":\\"%llx\\",\\"pid\\":%d,\\"random\\":%ld,\\"folder\\":\\"%s\\"}}\\n",
         side == MAYFLY_CLONE ? "clone" : "original", said, mayfly_generation(), getpid(), random(), mkdtemp(name));
  return 0;
}`,
  );
  await differ(t, 'c', { path: compile(source, 'program'), args: [] });
});
