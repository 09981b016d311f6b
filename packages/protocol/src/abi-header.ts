/** Writes the C headers `abi.h` and `abi_asm.h` from `abi.ts`: `node abi-header.js FOLDER`. */
import { writeFileSync } from 'node:fs';
import * as abi from './abi.js';

function defines(title: string, values: Record<string, number>): string {
  const rows = Object.entries(values).map(([name, v]) => `#define ${name} 0x${v.toString(16)}ul`);
  return `/* ${title} */\n${rows.join('\n')}\n`;
}

function struct(
  name: string,
  fields: readonly abi.Field[],
  offsets: Record<string, number>,
): string {
  const rows = fields.map(([field, type, comment]) => {
    const [base, count] = type.split('[');
    const suffix = count === undefined ? '' : `[${count}`;
    return `  ${base} ${field}${suffix};${comment === '' ? '' : ` /* ${comment} */`}`;
  });
  const asserts = fields.map(
    ([field]) =>
      `_Static_assert(__builtin_offsetof(struct ${name}, ${field}) == ${offsets[field]}, "${field}");`,
  );
  return `struct ${name} {\n${rows.join('\n')}\n};\n${asserts.join('\n')}\n`;
}

/** The text of the C header. */
export function abiHeader(): string {
  const parts = [
    '/* Generated from packages/protocol/src/abi.ts. Do not edit. */',
    '#pragma once',
    '#include "types.h"',
    `#define ABI_VERSION ${abi.ABI_VERSION}`,
    defines('Memory layout', abi.layout),
    defines('Virtual addresses of programs', abi.arenas),
    defines('Selectors', abi.selectors),
    defines('Ports', abi.ports),
    defines('Boot flags', abi.flags),
    defines('Exit flags', abi.exitFlags),
    defines('Network', abi.network),
    struct('shared', abi.sharedFields, abi.shared),
    struct('boot', abi.bootFields, abi.boot),
    struct('debug_thread', abi.debugThreadFields, abi.debugThread),
    `_Static_assert(sizeof(struct debug_thread) == ${abi.DEBUG_THREAD_SIZE}, "debug_thread");\n`,
  ];
  return `${parts.join('\n')}`;
}

/** The text of the header for assembly: bare numbers and the offsets of the shared page's fields. */
export function abiAsmHeader(): string {
  const numbers = { ...abi.layout, ...abi.arenas, ...abi.selectors, ...abi.ports };
  const offsets = Object.entries(abi.shared).map(([name, v]) => [`OFFSET_${name}`, v] as const);
  const rows = [...Object.entries(numbers), ...offsets];
  return `${rows.map(([name, v]) => `#define ${name} 0x${v.toString(16)}`).join('\n')}\n`;
}

const [, script, target] = process.argv;
if (script?.endsWith('abi-header.js') && target !== undefined) {
  writeFileSync(`${target}/abi.h`, abiHeader());
  writeFileSync(`${target}/abi_asm.h`, abiAsmHeader());
}
