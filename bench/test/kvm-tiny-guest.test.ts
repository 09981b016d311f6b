import { existsSync } from 'node:fs';
import t from 'tap';
import { TinyGuest } from '../src/tiny-guest.js';

const options = { skip: !existsSync('/dev/kvm') && 'no KVM' };

t.test('each invocation puts back exactly what the one before it wrote', options, async (t) => {
  const guest = new TinyGuest(50);
  t.teardown(() => guest.close());
  t.equal(guest.invoke(), 0, 'a new clone has nothing to put back');
  // With nested paging, a walk of the guest's three tables counts as a write to them.
  for (let i = 0; i < 3; i++) t.ok([50, 53].includes(guest.invoke()));
});
