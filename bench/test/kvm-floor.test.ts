import { existsSync } from 'node:fs';
import t from 'tap';
import { Floor } from '../src/floor.js';

t.test(
  'the floor answers batch after batch',
  { skip: !existsSync('/dev/kvm') && 'no KVM' },
  async (t) => {
    const floor = new Floor();
    t.teardown(() => floor.close());
    for (const [command, count] of [
      ['create 2', 2],
      ['exit 3', 3],
      ['rewind 50 5', 5],
    ] as const) {
      const times = await floor.batch(command);
      t.equal(times.length, count, command);
      t.ok(
        times.every((us) => us > 0.1 && us < 1e6),
        'times are microseconds',
      );
    }
  },
);
