/** The unwinding rules of real programs, and of damaged ones. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readSection } from '@mayfly/image';
import fc from 'fast-check';
import t from 'tap';
import { CallFrames, dwarf } from '../../src/debug/call-frames.js';
import { parseMaps } from '../../src/debug/stopped-process.js';
import { compile } from './guest.js';

const source = fileURLToPath(new URL('../../../test/machine/crash.c', import.meta.url));
const program = compile(source, 'crash', ['-fPIE', '-pie']);
const section = readSection(readFileSync(program), '.eh_frame');
if (section === undefined) throw new Error('no .eh_frame');

/** What binutils makes of the same section: address, CFA, and where the return address and rbx lie. */
function rowsOfReadelf(): [address: number, cfa: string, rbx: string, ra: string][] {
  const { stdout } = spawnSync('readelf', ['--debug-dump=frames-interp', program], {
    encoding: 'utf8',
  });
  const rows: [number, string, string, string][] = [];
  let columns: string[] = [];
  for (const line of stdout.split('\n')) {
    const cells = line.trim().split(/\s+/);
    if (cells[0] === 'LOC') columns = cells;
    else if (/^[0-9a-f]{16}$/.test(cells[0] ?? '') && cells[1]?.startsWith('r')) {
      const cell = (name: string) => cells[columns.indexOf(name)] ?? 'u';
      rows.push([Number.parseInt(cells[0] as string, 16), cell('CFA'), cell('rbx'), cell('ra')]);
    }
  }
  return rows;
}

t.test('every row of a program reads as binutils reads it', async (t) => {
  const frames = new CallFrames(section.bytes, section.address);
  const rows = rowsOfReadelf();
  t.ok(rows.length > 10, `${rows.length} rows`);
  const offset = (n: number | undefined) => (n === undefined ? 'u' : `c${n < 0 ? '' : '+'}${n}`);
  for (const [address, cfa, rbx, ra] of rows) {
    if (cfa === 'exp' || address === 0) continue; // an expression; a CIE's own row
    const rule = frames.ruleAt(address);
    const register = rule?.cfaRegister === dwarf.rbp ? 'rbp' : 'rsp';
    const name = `row at 0x${address.toString(16)}`;
    t.equal(`${register}+${rule?.cfaOffset}`, cfa, name);
    t.equal(offset(rule?.saved.get(dwarf.rbx)), rbx, name);
    if (rule?.outermost !== true) t.equal(offset(rule?.saved.get(dwarf.rip)), ra, name);
  }
});

t.test('damage gives no rule, or another one, and nothing worse', async (t) => {
  const change = fc.tuple(fc.nat(section.bytes.length - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), fc.nat(0x4000), (changes, at) => {
      const bytes = Buffer.from(section.bytes);
      for (const [i, value] of changes) bytes[i] = value;
      const rule = new CallFrames(bytes, section.address).ruleAt(at);
      return rule === undefined || rule.cfaRegister >= 0;
    }),
    { numRuns: 2000 },
  );
  t.pass('2000 damaged sections');
});

t.test('mappings that make no sense are left out', async (t) => {
  const good = '80000000-80001000 r-xp 00001000 00:01 7                           /bin/a b';
  const bad = ['x', '', '2000-1000 r--p 0 00:00 0 ', `${good.replace('80000000', '7ffff000')}`];
  const maps = parseMaps([good, ...bad, '80002000-80003000 rw-p 0 00:00 0 [heap]'].join('\n'));
  t.same(maps, [
    {
      start: 0x80000000n,
      end: 0x80001000n,
      readable: true,
      writable: false,
      executable: true,
      shared: false,
      offset: 0x1000n,
      path: '/bin/a b',
    },
    {
      start: 0x80002000n,
      end: 0x80003000n,
      readable: true,
      writable: true,
      executable: false,
      shared: false,
      offset: 0n,
      path: '',
    },
  ]);
});
