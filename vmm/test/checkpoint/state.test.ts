/** The state file: what is in it comes back, and what somebody else put in it is refused or does no harm. */
import { createHash } from 'node:crypto';
import { MayflyError } from '@mayfly/protocol';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import t from 'tap';
import { STATE_VERSION } from '../../src/checkpoint/manifest.js';
import { decodeState, encodeState, type StoredState } from '../../src/checkpoint/state.js';
import { stateShape } from '../../src/checkpoint/state-shape.js';
import { devicesFor, memoryOf, SIZE, stateOf } from './scratch.js';

const packr = new Packr({ useRecords: false, mapsAsObjects: true });
const memory = memoryOf(new Map());

/** With streams, since most that can be wrong is wrong with them. */
function usedState(): StoredState {
  const { bus, devices } = devicesFor(memory);
  const { vsock } = devices;
  vsock.connect(1024).write(Uint8Array.of(1, 2, 3));
  vsock.connect(1025).end();
  const xsave = new Uint8Array(4096).fill(7).buffer;
  const state = stateOf(memory);
  return {
    ...state,
    vcpu: { ...state.vcpu, xsave },
    devices: bus.save(),
    runs: Uint32Array.of(1, 2, 700, 1),
  };
}

t.test('a state comes back as it was', async (t) => {
  const state = usedState();
  t.same(decodeState(encodeState(state), SIZE), state);
  devicesFor(memory).bus.restore(decodeState(encodeState(state), SIZE).devices);
});

/**
 * Checkpoints that exist were saved in this form. Who changes it raises STATE_VERSION, says so in
 * docs/checkpoint-format.md, makes a new golden checkpoint (golden.ts), and only then writes the new digest here.
 */
t.test('the form of the state is that of its version', async (t) => {
  t.equal(STATE_VERSION, 2);
  const digest = createHash('sha256').update(stateShape.text).digest('hex').slice(0, 16);
  t.equal(digest, '106f968762a8d8cf');
});

type Tree = Record<string, unknown>;

const decoded = (): Tree => packr.unpack(encodeState(usedState()));

/** All places in a tree: the objects and lists that hold something, and what they call it. */
function* places(tree: unknown, path = ''): Generator<[holder: Tree, key: string, path: string]> {
  if (typeof tree !== 'object' || tree === null || tree instanceof Uint8Array) return;
  for (const key of Object.keys(tree)) {
    yield [tree as Tree, key, `${path}.${key}`];
    yield* places((tree as Tree)[key], `${path}.${key}`);
  }
}

const placeOf = (tree: Tree, path: string) =>
  [...places(tree)].find(([, , found]) => found === path);

/** Refused with what is wrong, or taken by devices that then serve a guest as they should. */
function tryState(bytes: Uint8Array): 'refused' | 'taken' {
  try {
    const { devices } = decodeState(bytes, SIZE);
    const { bus } = devicesFor(memory);
    bus.restore(devices);
    bus.processQueues();
    bus.save();
    return 'taken';
  } catch (error) {
    if (error instanceof MayflyError) return 'refused';
    throw error;
  }
}

t.test('what is wrong is named', async (t) => {
  const wrong = (path: string, value: unknown, what: RegExp) => {
    const tree = decoded();
    const [holder, key] = placeOf(tree, path) ?? [tree, path];
    holder[key] = value;
    t.throws(() => decodeState(packr.pack(tree), SIZE), {
      code: 'MAYFLY_CHECKPOINT_DAMAGED',
      message: what,
    });
  };
  wrong('.vcpu', undefined, /^state\.vcpu is undefined, not an object$/);
  wrong('more', 1, /^state has a field "more" that is not known$/);
  wrong('.vcpu.regs', new Uint8Array(3), /^state\.vcpu\.regs is 3 bytes, not 144 bytes$/);
  wrong('.vcpu.msrs.1.0', 0x10, /msrs\[1\]\[0\] is 16, not 3221225602$/);
  wrong('.vcpu.msrs.0.1', `${2n ** 64n}`, /msrs\[0\]\[1\] is "184.*64 bits/);
  wrong('.capturedAt', -1, /^state\.capturedAt is -1, not a number of 64 bits/);
  wrong('.devices.transports', [], /transports is a list of 0, not a list of 3$/);
  const [console, vsock] = ['.devices.transports.0.device', '.devices.transports.2.device'];
  wrong(`${console}.queues.1.lastAvail`, 1.5, /queues\[1\]\.lastAvail is 1\.5, not/);
  wrong(`${console}.device`, 'disk', /device is "disk", not "console"$/);
  const streams = `${vsock}.specific.connections`;
  const [list] = placeOf(decoded(), `${streams}.0`)!;
  wrong(`${streams}.0.bufAlloc`, 2 ** 31, /bufAlloc is 2147483648/);
  wrong(`${streams}.1`, list[0], /has two streams between the same ports$/);
  for (const runs of [[1, 0], [2, 1, 1, 1], [1, 2, 3, 1], [1], [1024, 1], [1023, 2]]) {
    wrong('.runs', runs, /names pages/);
  }
  wrong('.runs', [-1, 1], /runs is a list of 2, not a list of at most/);
});

/** What a file may claim in the place of anything. */
const anything = fc.oneof(
  fc.constantFrom(null, true, -1, 0.5, Number.NaN, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 64, 1e300),
  fc.integer(),
  fc.string(),
  fc.uint8Array({ maxLength: 5000 }),
  fc.array(fc.integer(), { maxLength: 300 }),
  fc.constant({}),
);

t.test('any value in any place is refused or does no harm', async (t) => {
  const count = [...places(decoded())].length;
  let taken = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(count), anything), { maxLength: 3, minLength: 1 }),
      (changes) => {
        const tree = decoded();
        for (const [at, value] of changes) {
          const all = [...places(tree)];
          const [holder, key] = all[at % all.length]!;
          holder[key] = value;
        }
        if (tryState(packr.pack(tree)) === 'taken') taken++;
      },
    ),
    { numRuns: 1000 },
  );
  t.ok(taken > 0, `${taken} of them are states that a guest could have`);
});

t.test('any bytes are refused or do no harm', async () => {
  const whole = encodeState(usedState());
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 4 }),
      fc.nat(whole.length),
      fc.boolean(),
      (changes, length, cut) => {
        const bytes = Buffer.from(whole);
        for (const [at, byte] of changes) bytes[at] = byte;
        tryState(cut ? bytes.subarray(0, length) : bytes);
      },
    ),
    { numRuns: 1000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void tryState(bytes)));
  // Lists that claim to be long, each inside of the other.
  tryState(Buffer.concat(Array.from({ length: 1000 }, () => Buffer.from('dd02000000', 'hex'))));
  tryState(Buffer.alloc(1 << 20, 0x91));
  tryState(Buffer.alloc(1 << 20, 0x81));
});
