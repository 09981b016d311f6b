import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { decode, encode, type Packet, type RecordType as PacketType } from 'dns-packet';
import fc from 'fast-check';
import t from 'tap';
import type { Denial } from '../../src/network/denial.js';
import { NameServer } from '../../src/network/name-server.js';
import { NetworkPolicy } from '../../src/network/policy.js';
import { HostResolver, type Resolution } from '../../src/network/resolver.js';

const records: Record<string, Resolution> = {
  'example.com A': [
    { type: 'A', ttl: 300, data: '93.184.215.14' },
    { type: 'A', ttl: 300, data: '10.0.0.1' },
  ],
  'example.com AAAA': [{ type: 'AAAA', ttl: 60, data: '2606:2800::1' }],
  'example.com TXT': [{ type: 'TXT', ttl: 30, data: ['x'.repeat(200), 'y'] }],
  'example.com MX': [{ type: 'MX', ttl: 30, data: { preference: 5, exchange: 'm.example.com' } }],
  'many.example.com A': Array.from({ length: 60 }, (_, i) => ({
    type: 'A',
    ttl: 1,
    data: `93.184.215.${i}`,
  })),
  'gone.example.com A': 'missing',
  'broken.example.com A': 'failed',
};

function setUp(allow = ['*.example.com', 'example.com:443', 'host.mayfly:80'], ipv6 = true) {
  const learned: string[] = [];
  const denied: Denial[] = [];
  const server = new NameServer({
    policy: new NetworkPolicy(allow, () => new Set()),
    resolver: { resolve: async (name, type) => records[`${name} ${type}`] ?? [] },
    learned: (name, addresses) => learned.push(`${name}: ${addresses.join(' ')}`),
    denied: (denial) => denied.push(denial),
    hostname: () => 'Mayfly',
    ipv6: () => ipv6,
  });
  const ask = async (name: string, type = 'A', more: Partial<Packet> = {}, datagram = true) => {
    const question = { name, type: type as PacketType, class: 'IN' as const };
    const query = encode({ type: 'query', id: 77, flags: 0x100, questions: [question], ...more });
    const answer = await server.answer(query, datagram);
    return {
      size: answer!.length,
      ...(decode(Buffer.from(answer!)) as unknown as Packet & { rcode: string }),
    };
  };
  return { server, learned, denied, ask };
}

const edns = (udpPayloadSize: number): Partial<Packet> => ({
  additionals: [
    {
      type: 'OPT',
      name: '.',
      udpPayloadSize,
      extendedRcode: 0,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: [],
    },
  ],
});

t.test('names that are allowed are resolved, and their addresses known from then on', async (t) => {
  const { ask, learned } = setUp();
  const answer = await ask('Example.COM');
  t.match(answer, { id: 77, type: 'response', rcode: 'NOERROR', flag_rd: true, flag_ra: true });
  t.match(answer.questions, [{ name: 'Example.COM', type: 'A' }]);
  t.match(answer.answers, [
    { name: 'Example.COM', type: 'A', ttl: 300, data: '93.184.215.14' },
    { type: 'A', data: '10.0.0.1' },
  ]);
  t.match((await ask('example.com', 'AAAA')).answers, [{ data: '2606:2800::1' }]);
  t.same(learned, ['example.com: 93.184.215.14 10.0.0.1', 'example.com: 2606:2800::1']);
  t.match((await ask('example.com', 'MX')).answers, [{ data: { exchange: 'm.example.com' } }]);
  t.equal((await ask('example.com', 'TXT')).answers!.length, 1);
});

t.test('what there is not', async (t) => {
  const { ask } = setUp();
  t.match(await ask('gone.example.com'), { rcode: 'NXDOMAIN', answers: [] });
  t.match(await ask('broken.example.com'), { rcode: 'SERVFAIL', answers: [] });
  t.match(await ask('example.com', 'HTTPS'), { rcode: 'NOERROR', answers: [] });
  t.match(await setUp(undefined, false).ask('example.com', 'AAAA'), {
    rcode: 'NOERROR',
    answers: [],
  });
});

t.test('names that no rule allows are not asked for', async (t) => {
  const { ask, denied, learned } = setUp();
  const answer = await ask('data.attacker.test', 'A', edns(1232));
  t.equal(answer.rcode, 'NXDOMAIN');
  const [opt] = answer.additionals as unknown as { options: { code: number; data: Buffer }[] }[];
  t.match(opt!.options, [{ code: 15 }]);
  t.same([...opt!.options[0]!.data], [0, 18], 'RFC 8914: prohibited');
  t.match(denied, [{ target: 'data.attacker.test', rule: 'data.attacker.test' }]);
  t.same(learned, []);
});

t.test('names of the guest’s own network', async (t) => {
  t.match((await setUp().ask('host.mayfly')).answers, [{ data: '169.254.77.1' }]);
  t.equal((await setUp(['*']).ask('host.mayfly')).rcode, 'NXDOMAIN');
  t.match((await setUp([]).ask('localhost')).answers, [{ data: '127.0.0.1' }]);
  t.match((await setUp([]).ask('mayfly')).answers, [{ data: '169.254.77.2' }]);
});

t.test('a long answer is cut in a datagram, not in a stream', async (t) => {
  const { ask } = setUp();
  const cut = await ask('many.example.com');
  t.match(cut, { flag_tc: true, answers: [] });
  t.ok(cut.size <= 512);
  t.match(await ask('many.example.com', 'A', edns(1232)), { flag_tc: true }, '60 do not fit');
  t.equal((await ask('many.example.com', 'A', {}, false)).answers!.length, 60);
});

t.test('any bytes are survived, and none becomes more than one question', async () => {
  const { server } = setUp();
  const query = encode({
    type: 'query',
    id: 1,
    questions: [{ name: 'www.example.com', type: 'A', class: 'IN' }],
    ...edns(4096),
  });
  const damaged = fc
    .array(fc.tuple(fc.nat(query.length - 1), fc.nat(255)), { maxLength: 6 })
    .map((changes) => {
      const bytes = Buffer.from(query);
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    });
  const anything = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  await fc.assert(
    fc.asyncProperty(fc.oneof(damaged, anything), fc.boolean(), async (bytes, datagram) => {
      const answer = await server.answer(bytes, datagram);
      if (answer === undefined) return;
      if (answer.length < 12) throw new Error('shorter than a header');
      if (answer[0] !== bytes[0] || answer[1] !== bytes[1]) throw new Error('of another question');
      if ((answer[2]! & 0x80) === 0) throw new Error('no answer');
      decode(Buffer.from(answer));
    }),
    { numRuns: 3000 },
  );
});

t.test('the resolver asks the name servers that it is given', async (t) => {
  const server = createSocket('udp4');
  t.teardown(() => server.close());
  server.on('message', (bytes, from) => {
    const { id, questions } = decode(bytes);
    const [{ name, type }] = questions as [{ name: string; type: string }];
    const found = name === 'a.test' && type === 'A';
    const answer = encode({
      type: 'response',
      id: id!,
      flags: name === 'a.test' ? 0x180 : 0x183,
      questions: questions!,
      answers: found ? [{ name, type: 'A', ttl: 9, data: '10.1.2.3' }] : [],
    });
    server.send(answer, from.port, from.address);
  });
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  const resolver = new HostResolver([`127.0.0.1:${server.address().port}`]);
  t.same(await resolver.resolve('a.test', 'A'), [{ type: 'A', ttl: 9, data: '10.1.2.3' }]);
  t.same(await resolver.resolve('a.test', 'TXT'), []);
  t.equal(await resolver.resolve('b.test', 'A'), 'missing');
});
