/** Rules within rules: what is called narrower opens nothing that the wider rules do not. */
import fc from 'fast-check';
import t from 'tap';
import { parseAddress } from '../../src/network/address.js';
import { narrowed } from '../../src/network/narrow.js';
import { NetworkPolicy } from '../../src/network/policy.js';

const isNarrower = (given: string[], wanted: string[]): boolean => {
  try {
    t.equal(narrowed(given, wanted, 'checkpoint x'), wanted);
    return true;
  } catch (error) {
    if ((error as { code: string }).code !== 'MAYFLY_NETWORK_WIDER') throw error;
    return false;
  }
};

for (const [given, wanted] of [
  ['example.com', 'example.com:443'],
  ['example.com:1-100,443', 'EXAMPLE.com.:80,443'],
  ['*.example.com:443', 'a.b.example.com:443'],
  ['*.example.com', '*.a.example.com'],
  ['*:443', '*.example.com:443'],
  ['10.0.0.0/8:443', '10.1.0.0/16:443'],
  ['10.0.0.0/8', '10.1.2.3:1'],
  ['2001:db8::/32', '[2001:db8:1::1]:443'],
  ['169.254.0.0/16:80', '169.254.169.254:80'],
  ['host.mayfly:5000-6000', 'host.mayfly:5432'],
  ['example.com:80 example.com:443', 'example.com:80,443'],
  ['example.com', ''],
] as const) {
  t.test(`${wanted || 'nothing'} is within ${given}`, async (t) => {
    t.ok(isNarrower(given.split(' '), wanted === '' ? [] : [wanted]));
  });
}

for (const [given, wanted] of [
  ['', 'example.com:443'],
  ['example.com:443', 'example.com'],
  ['example.com:443', 'example.com:80,443'],
  ['example.com:443', 'example.org:443'],
  ['*.example.com', 'example.com'],
  ['example.com', '*.example.com'],
  ['a.example.com', '*.example.com'],
  ['*:443', 'host.mayfly:443'],
  ['*', '10.1.2.3'],
  ['10.0.0.0/16', '10.0.0.0/8'],
  ['0.0.0.0/0', '169.254.169.254:80'],
  ['0.0.0.0/0', '2001:db8::1'],
  ['host.mayfly:5432', 'host.mayfly:5431-5432'],
] as const) {
  t.test(`${wanted} is not within ${given || 'nothing'}`, async (t) => {
    const rules = given === '' ? [] : given.split(' ');
    t.throws(() => narrowed(rules, [wanted], 'checkpoint x'), {
      code: 'MAYFLY_NETWORK_WIDER',
      message: new RegExp(`${wanted.split(':')[0]?.replaceAll('*', '\\*')}.*checkpoint x`),
    });
  });
}

t.test('a wrong rule is told', async (t) => {
  t.throws(() => narrowed(['example.com'], ['http://example.com'], 'x'), {
    code: 'MAYFLY_NETWORK_RULE',
  });
});

t.test('any target that narrower rules allow is allowed by the wider ones', async (t) => {
  const names = ['example.com', 'a.example.com', 'b.a.example.com', 'host.mayfly', 'other.org'];
  const addresses = ['10.1.2.3', '10.200.0.1', '93.184.215.14', '169.254.169.254', '2001:db8::1'];
  const hosts = [
    ...names,
    ...addresses,
    ...['*', '*.example.com', '*.a.example.com', '10.0.0.0/8', '10.1.0.0/16', '0.0.0.0/0'],
    ...['169.254.0.0/16', '93.184.0.0/16'],
  ];
  const ports = fc.constantFrom(':1', ':1-3', ':2,4', ':3-9', '');
  const rule = fc
    .tuple(fc.constantFrom(...hosts), ports)
    .map(([host, port]) => (host.includes(':') && port !== '' ? `[${host}]${port}` : host + port))
    .filter((text) => text !== 'host.mayfly');
  const own = () => new Set<string>();
  let within = 0;
  fc.assert(
    fc.property(fc.array(rule, { minLength: 1, maxLength: 3 }), rule, (given, wanted) => {
      if (!isNarrower(given, [wanted])) return;
      within++;
      const [wide, narrow] = [new NetworkPolicy(given, own), new NetworkPolicy([wanted], own)];
      for (const name of names) {
        if (narrow.allowsName(name)) t.ok(wide.allowsName(name), `${given}: ${name}`);
        for (const address of [...addresses, '192.0.2.1']) {
          for (const port of [1, 2, 3, 4, 9, 10]) {
            const of = (policy: NetworkPolicy) =>
              policy.decide(parseAddress(address)!, port, [name]).allowed;
            if (of(narrow) && !of(wide)) t.fail(`${given} > ${wanted}: ${address}:${port} ${name}`);
          }
        }
      }
    }),
    { numRuns: 2000 },
  );
  t.ok(within > 100, `${within} were narrower`);
});
