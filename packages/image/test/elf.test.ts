import { readFileSync } from 'node:fs';
import { MayflyError } from '@mayfly/protocol';
import fc from 'fast-check';
import t from 'tap';
import { parseElf, parseElfFile, readSymbols, symbolise } from '../src/index.js';
import { buildElf } from './support/mini-elf.js';

const FULL = buildElf({
  interp: '/lib64/ld-linux-x86-64.so.2',
  needed: ['libone.so.1', 'libtwo.so.2'],
  soname: 'libself.so.3',
  rpath: '/opt/old',
  runpath: '$ORIGIN/lib:/opt/new',
  symbols: [
    { name: 'main', value: 0x401000, size: 0x20 },
    { name: 'start', value: 0x400f00, size: 0 },
    { name: 'main_alias', value: 0x401000, size: 0x10 },
    { name: 'helper', value: 0x401100, size: 0x40 },
  ],
});

t.test('reads headers and the dynamic section', (t) => {
  const elf = parseElf(FULL);
  t.equal(elf.type, 'exec');
  t.equal(elf.entry, 0x400100);
  t.equal(elf.interp, '/lib64/ld-linux-x86-64.so.2');
  t.same(elf.needed, ['libone.so.1', 'libtwo.so.2']);
  t.equal(elf.soname, 'libself.so.3');
  t.equal(elf.rpath, '/opt/old');
  t.equal(elf.runpath, '$ORIGIN/lib:/opt/new');
  t.equal(elf.programHeaders[0]?.vaddr, 0x400000);
  t.end();
});

t.test('reads the running node without loading it', (t) => {
  const elf = parseElfFile(process.execPath);
  t.ok(elf.needed.some((name) => name.startsWith('libc.')));
  t.ok(elf.programHeaders.length > 3);
  t.end();
});

t.test('symbolises addresses', (t) => {
  const symbols = readSymbols(FULL);
  t.same(
    symbols.map(({ name }) => name),
    ['start', 'main', 'main_alias', 'helper'],
  );
  t.same(symbolise(symbols, 0x40100f), { name: 'main', offset: 0xf });
  t.same(symbolise(symbols, 0x401018), { name: 'main', offset: 0x18 }, 'the larger of two aliases');
  t.same(symbolise(symbols, 0x400f80), { name: 'start', offset: 0x80 }, 'size unknown');
  t.equal(symbolise(symbols, 0x401020), undefined, 'between symbols');
  t.equal(symbolise(symbols, 0x401140), undefined, 'behind the last');
  t.equal(symbolise(symbols, 0x400000), undefined, 'before the first');
  t.end();
});

t.test('says what is wrong with a file', (t) => {
  const code = (bytes: Uint8Array) => codeOf(() => parseElf(bytes));
  t.equal(code(Buffer.from('#!/bin/sh\n')), 'MAYFLY_ELF_NOT_ELF');
  t.equal(code(Buffer.alloc(0)), 'MAYFLY_ELF_NOT_ELF');
  t.equal(code(buildElf({ machine: 183 })), 'MAYFLY_ELF_WRONG_ARCH');
  t.equal(code(buildElf({ elfClass: 1, machine: 3 })), 'MAYFLY_ELF_WRONG_ARCH');
  t.equal(code(FULL.subarray(0, 40)), 'MAYFLY_ELF_DAMAGED');
  t.equal(code(FULL.subarray(0, 200)), 'MAYFLY_ELF_DAMAGED');
  t.throws(() => parseElf(buildElf({ machine: 183 })), { message: /64-bit ARM/ });
  t.end();
});

t.test('survives any damage to a real file', (t) => {
  const damage = fc.array(fc.tuple(fc.nat(FULL.length - 1), fc.nat(255)), { maxLength: 12 });
  fc.assert(
    fc.property(damage, fc.nat(FULL.length), (changes, length) => {
      const bytes = Buffer.from(FULL);
      for (const [at, value] of changes) bytes[at] = value;
      survives(bytes);
      survives(bytes.subarray(0, length));
    }),
    { numRuns: 3000 },
  );
  t.end();
});

t.test('survives hostile values in every header field', (t) => {
  const value = fc.oneof(
    fc.bigInt(0n, 2n ** 64n - 1n),
    fc.constantFrom(0n, 1n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 53n),
  );
  const field = fc.nat(Math.floor(FULL.length / 8) - 1);
  fc.assert(
    fc.property(fc.array(fc.tuple(field, value), { minLength: 1, maxLength: 4 }), (changes) => {
      const bytes = Buffer.from(FULL);
      for (const [index, number] of changes) bytes.writeBigUInt64LE(number, index * 8);
      bytes.set(FULL.subarray(0, 20));
      survives(bytes);
    }),
    { numRuns: 3000 },
  );
  t.end();
});

t.test('survives text and noise', (t) => {
  survives(readFileSync(new URL(import.meta.url)));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), survives));
  t.end();
});

/** Either parses, or throws one of our errors. */
function survives(bytes: Uint8Array): void {
  codeOf(() => parseElf(bytes));
  codeOf(() => readSymbols(bytes));
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof MayflyError && error.code.startsWith('MAYFLY_ELF_')) return error.code;
    throw error;
  }
}
