/**
 * Ordinary Linux programs on the guest kernel under QEMU: what they do here is what they do there. QEMU emulates a
 * processor by the book, so this is what the guest kernel meets on VT-x and SVM hosts.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  comparablePrograms,
  compile,
  FUZZ_RUNS,
  fuzzEndedWell,
  guestSources,
  runHere,
  sameOutcome,
  scratch,
} from '../machine/guest.js';
import { QEMU, runInQemu } from './qemu-machine.js';

const installed = spawnSync(QEMU, ['--version']).status === 0;
const skip = installed ? false : `${QEMU} is not installed`;

/** QEMU's emulation computes on where SSE should fault. */
const notEmulated = new Set(['signal_sse.c']);

for (const { file, args } of comparablePrograms()) {
  if (notEmulated.has(file)) continue;
  t.test(`${file} prints on an emulated processor what it prints here`, { skip }, async (t) => {
    const program = compile(join(guestSources, file), file.slice(0, -2));
    sameOutcome(t, await runInQemu(program, args), runHere(program, args));
  });
}

t.test('no call with whatever arguments stops the guest kernel', { skip }, async (t) => {
  const program = compile(join(guestSources, 'fuzz_calls.c'), 'fuzz_calls');
  const codes: number[] = [];
  for (const args of FUZZ_RUNS) codes.push((await runInQemu(program, args)).exitCode);
  t.ok(codes.every(fuzzEndedWell), `exit codes ${codes}`);
  t.ok(codes.includes(0), 'some made all of their calls');
});

t.test('a processor without AVX is enough', { skip }, async (t) => {
  const program = compile(join(guestSources, 'threads.c'), 'threads');
  const cpu = 'Nehalem,-spec-ctrl,+fsgsbase,+xsave,+xsaveopt';
  sameOutcome(t, await runInQemu(program, [], cpu), runHere(program));
});

t.test('a dynamic program runs on an emulated processor', { skip }, async (t) => {
  const flags = ['-fPIE', '-pie'];
  const program = compile(join(guestSources, 'threads.c'), 'threads-dynamic', flags);
  sameOutcome(t, await runInQemu(program), runHere(program));
});

t.test('busybox runs on an emulated processor', { skip }, async (t) => {
  const busybox = '/bin/busybox';
  if (!existsSync(busybox)) return t.fail(`${busybox} is not installed`);
  const args = ['sh', '-c', 'cd /etc; pwd; echo $((6*7)); echo wrong >&2; exit 7'];
  sameOutcome(t, await runInQemu(busybox, args), runHere(busybox, args));
});

function compileText(name: string, text: string): string {
  const source = join(scratch, `${name}.c`);
  writeFileSync(source, text);
  return compile(source, name);
}

t.test('random numbers come from the entropy device', { skip }, async (t) => {
  const program = compileText(
    'random',
    `#include <stdio.h>
     #include <sys/random.h>
     int main(void) {
       unsigned char bytes[16];
       if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return 1;
       for (int i = 0; i < 16; i++) printf("%02x", bytes[i]);
     }`,
  );
  const outcomes = [await runInQemu(program), await runInQemu(program)];
  for (const { exitCode, stdout } of outcomes) {
    t.equal(exitCode, 0);
    t.match(stdout, /^[0-9a-f]{32}$/);
  }
  t.not(outcomes[0]?.stdout, outcomes[1]?.stdout, 'each machine has its own');
});

t.test(
  'what is fatal to a program on a real processor ends the program alone',
  { skip },
  async (t) => {
    for (const [name, code, exitCode] of [
      ['privileged', '__asm__ volatile("hlt");', 128 + 11],
      ['interrupts', '__asm__ volatile("cli");', 128 + 11],
      ['port', '__asm__ volatile("outl %%eax, %%dx" : : "a"(0), "d"(0x2000));', 128 + 11],
      ['undefined', '__asm__ volatile("ud2");', 128 + 4],
      ['divide', '__asm__ volatile("div %%ecx" : : "a"(1), "d"(0), "c"(0));', 128 + 8],
      ['canonical', '*(volatile char *)0x8000000000000000 = 1;', 128 + 11],
      ['page', '*(volatile char *)16 = 1;', 128 + 11],
    ] as const) {
      const program = compileText(name, `int main(void) { ${code} return 0; }`);
      t.equal((await runInQemu(program)).exitCode, exitCode, name);
    }
  },
);

t.test('a single step into a call does not trap at CPL 0', { skip }, async (t) => {
  const program = compileText(
    'step',
    `#include <unistd.h>
     int main(void) {
       for (int i = 0; i < 3; i++) {
         long result;
         __asm__ volatile("sub $128, %%rsp; pushfq; orl $0x100, (%%rsp); popfq; syscall; add $128, %%rsp"
                          : "=a"(result) : "a"(39) : "rcx", "r11", "memory", "cc");
         if (result != getpid()) return 1;
       }
       return 42;
     }`,
  );
  t.equal((await runInQemu(program)).exitCode, 42);
});
