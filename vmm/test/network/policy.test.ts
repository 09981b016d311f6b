import t from 'tap';
import { parseAddress } from '../../src/network/address.js';
import { NetworkPolicy } from '../../src/network/policy.js';
import { normalName, parseRule } from '../../src/network/rule.js';

const OWN = '93.184.215.1';
const policy = (...allow: string[]) => new NetworkPolicy(allow, () => new Set([OWN]));
const decide = (p: NetworkPolicy, address: string, port: number, ...names: string[]) =>
  p.decide(parseAddress(address)!, port, names);

const PUBLIC = '93.184.215.14';
const PUBLIC6 = '2606:2800:21f:cb07::14';

t.test('rules allow what they say', async (t) => {
  const rows: [rule: string, address: string, port: number, names: string[], allowed: boolean][] = [
    ['example.com', PUBLIC, 80, ['example.com'], true],
    ['example.com', PUBLIC, 80, [], false],
    ['example.com', PUBLIC, 80, ['other.com'], false],
    ['example.com', PUBLIC, 80, ['other.com', 'example.com'], true],
    ['EXAMPLE.com.:443', PUBLIC, 443, ['example.com'], true],
    ['example.com:443', PUBLIC, 80, ['example.com'], false],
    ['example.com:80,8000-8100', PUBLIC, 8100, ['example.com'], true],
    ['example.com:80,8000-8100', PUBLIC, 8101, ['example.com'], false],
    ['*.example.com', PUBLIC, 1, ['a.b.example.com'], true],
    ['*.example.com', PUBLIC, 1, ['example.com'], false],
    ['*.example.com', PUBLIC, 1, ['badexample.com'], false],
    ['*', PUBLIC, 1, [], true],
    ['*:443', PUBLIC6, 443, [], true],
    ['*:443', PUBLIC6, 80, [], false],
    [PUBLIC, PUBLIC, 1, [], true],
    [`${PUBLIC}:22`, PUBLIC, 23, [], false],
    ['10.0.0.0/8:443', '10.200.1.2', 443, [], true],
    ['10.0.0.0/8:443', '11.0.0.1', 443, [], false],
    ['2606:2800::/32', PUBLIC6, 1, [], true],
    ['[2606:2800::/32]:443', PUBLIC6, 443, [], true],
    ['[2606:2800::/32]:443', PUBLIC6, 444, [], false],
    [`[${PUBLIC6}]:443`, PUBLIC6, 443, [], true],
    ['0.0.0.0/0', PUBLIC6, 443, [], false],
    ['0.0.0.0/0', '10.0.0.1', 443, [], true],
    ['10.0.0.0/8', '::ffff:10.0.0.1', 443, [], true],
    ['host.mayfly:80', '169.254.77.1', 80, [], true],
    ['host.mayfly:80', '169.254.77.1', 81, [], false],
  ];
  for (const [rule, address, port, names, allowed] of rows) {
    const decision = decide(policy(rule), address, port, ...names);
    t.equal(decision.allowed, allowed, `${rule}: ${address} ${port} ${names}`);
  }
});

t.test('a name or a * opens no address that is not public', async (t) => {
  const names = ['rebound.example.com'];
  for (const address of [
    '10.0.0.1',
    '172.16.0.1',
    '192.168.1.1',
    '100.64.0.1',
    '169.254.169.254',
    '192.0.2.1',
    '198.18.0.1',
    '240.0.0.1',
    'fd00::1',
    'fe80::1',
    'fec0::1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::1',
    '::7f00:1',
    '::ffff:192.168.0.1',
    '168.63.129.16',
    '169.254.77.1',
    OWN,
  ]) {
    const decision = decide(policy('*.example.com', '*'), address, 443, ...names);
    t.equal(decision.allowed, false, address);
    if (decision.allowed || address === '169.254.77.1') continue;
    t.match(decision.denial.rule, /443/, 'the network is what would have to be allowed');
    t.equal(decide(policy(decision.denial.rule!), address, 443).allowed, true, 'and that works');
  }
});

t.test('no rule opens the guest itself, or many hosts', async (t) => {
  const all = policy('*', '0.0.0.0/0', '::/0', 'host.mayfly:1-65535');
  for (const address of [
    '127.0.0.1',
    '127.8.8.8',
    '0.0.0.0',
    '224.0.0.1',
    '255.255.255.255',
    '::1',
    '::',
    '::ffff:127.0.0.1',
    'ff02::1',
    '169.254.77.2',
  ]) {
    t.equal(decide(all, address, 80).allowed, false, address);
  }
  t.equal(decide(all, PUBLIC, 0).allowed, false, 'port 0');
});

t.test('credentials of clouds need a rule of their own', async (t) => {
  t.equal(decide(policy('0.0.0.0/0'), '169.254.169.254', 80).allowed, false);
  t.equal(decide(policy('169.254.169.254'), '169.254.169.254', 80).allowed, true);
  t.equal(decide(policy('169.254.0.0/16'), '169.254.169.254', 80).allowed, true);
  t.equal(decide(policy('fd00::/8'), 'fd00:ec2::254', 80).allowed, false);
});

t.test('names that may be asked for', async (t) => {
  t.equal(policy('10.0.0.0/8').allowsName('example.com'), false);
  t.equal(policy('*:443').allowsName('example.com'), true);
  t.equal(policy('*').allowsName('host.mayfly'), false);
  t.equal(policy('host.mayfly:1').allowsName('host.mayfly'), true);
  t.equal(policy('*.example.com').allowsName('example.com'), false);
});

t.test('a denial says what would help', async (t) => {
  const denial = (...args: Parameters<typeof decide>) => {
    const decision = decide(...args);
    return decision.allowed ? undefined : decision.denial;
  };
  t.match(denial(policy(), PUBLIC, 443, 'example.com'), {
    target: `${PUBLIC}:443 (example.com)`,
    rule: 'example.com:443',
  });
  t.match(denial(policy(), PUBLIC6, 443), { rule: `[${PUBLIC6}]:443` });
  t.match(denial(policy(), '169.254.77.1', 5432), { rule: 'host.mayfly:5432' });
  t.match(denial(policy(), '127.0.0.1', 5432), { rule: undefined });
});

t.test('wrong rules are refused with a hint', async (t) => {
  const rows: [rule: string, message: RegExp][] = [
    ['', /names no host/],
    [':443', /names no host/],
    ['example.com:', /"" is no port/],
    ['example.com:0', /"0" is no port/],
    ['example.com:65536', /no port/],
    ['example.com:90-80', /no port/],
    ['example.com:http', /"http" is no port/],
    ['https://example.com', /is no URL/],
    ['foo.*.com', /\* stands alone or first/],
    ['*example.com', /\* stands alone or first/],
    ['exa mple.com', /neither a name/],
    ['-a.com', /neither a name/],
    ['a..com', /neither a name/],
    ['10.1.2.3/8', /would be 10\.0\.0\.0\/8; a single address is 10\.1\.2\.3/],
    ['10.0.0.0/33', /0 to 32/],
    ['10.0.0.0/', /0 to 32/],
    ['10.0.0/8', /neither/],
    ['010.0.0.1', /neither/],
    ['1.2.3', /neither/],
    ['2001:db8::/32:443', /\[2001:db8::\/32\]:443/],
    ['2001:db8::zz', /neither/],
    ['fe80::1%eth0', /neither/],
    ['127.0.0.1:80', /host\.mayfly:PORT/],
    ['127.0.0.0/8', /host\.mayfly:PORT/],
    ['[::1]:80', /host\.mayfly:PORT/],
    ['localhost:80', /host\.mayfly:PORT/],
    ['host.mayfly', /say which ports/],
    [`${'a'.repeat(64)}.com`, /neither/],
  ];
  for (const [rule, message] of rows) {
    t.throws(() => parseRule(rule), { code: 'MAYFLY_NETWORK_RULE', message }, rule);
  }
});

t.test('names have one form', async (t) => {
  t.equal(normalName('Bücher.Example'), 'xn--bcher-kva.example');
  t.equal(normalName('_sip._TCP.example.com.'), '_sip._tcp.example.com');
  for (const no of ['', '.', '1.2.3.4', '127.1', '0x7f.1', 'a b', 'a\0b', 'a/b', 'é'.repeat(300)]) {
    t.equal(normalName(no), undefined, JSON.stringify(no));
  }
});
