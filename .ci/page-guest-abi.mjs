// docs/guest-abi.md, from packages/protocol/src/abi.ts (compiled).
import * as abi from '../packages/protocol/dist/src/abi.js';

const hex = (value) => `\`0x${value.toString(16)}\``;

function table(header, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}

const numbers = (values) =>
  table(
    ['name', 'value'],
    Object.entries(values).map(([name, value]) => [name, hex(value)]),
  );

const fields = (list, offsets) =>
  table(
    ['offset', 'field', 'type', ''],
    list.map(([name, type, comment]) => [hex(offsets[name]), name, type, comment.trim()]),
  );

/** The page's text. */
export function guestAbiPage() {
  return `# The contract between VMM and guest kernel

Generated from \`packages/protocol/src/abi.ts\` by \`node .ci/generated.mjs --write\`; do not edit. The same file yields the C
header that the guest kernel is built with. This is version ${abi.ABI_VERSION}; the number rises whenever a number or a
field below changes its meaning, and a guest kernel that finds another one in its boot page gives up.

## Boot

There is no firmware and no real mode. The VMM writes descriptor tables, page tables, the boot page, the program's strings and the
guest kernel's segments into memory, and the vCPU starts at the guest kernel's entry, in long mode at CPL 3.

## Memory

Guest-physical (GPA) and guest-virtual (VA) addresses. RAM is one slot at GPA 0.

${numbers(abi.layout)}

Virtual addresses that programs get:

${numbers(abi.arenas)}

Selectors of the GDT:

${numbers(abi.selectors)}

## Exits

Every exit that the guest asks for is a 32-bit OUT to one of these ports, never an IN: registers can be set after an OUT, but after an
IN the old code would go on.

${numbers(abi.ports)}

- **idle**: every thread is blocked. Look at all queues; come back at \`idle_deadline\` or on input.
- **exit**: the program ended; the value is its wait status.
- **panic**: the guest kernel gave up; the shared page says why.
- **flush**: a present mapping was changed. Flush the guest's TLB and come back.
- **stop**: the program stands still for a debugger or a core file. Come back to go on.
- **poll**: rings are full, or input is wanted now. Look at all queues and come back at once.

## The shared page

IN is written by the VMM, OUT by the guest. The VMM believes nothing that it finds in an OUT field.

${fields(abi.sharedFields, abi.shared)}

An upcall pre-empts the program: the VMM writes an interrupt frame at \`kstack_top\` and sets RIP to \`upcall_entry\`. While RIP is inside the
guest kernel, it sets \`preempt_pending\` instead.

## The boot page

Written by the VMM before the first instruction.

${fields(abi.bootFields, abi.boot)}

Boot flags:

${numbers(abi.flags)}

## A program that stands still

A stop (\`PORT_STOP\`) and an exit with \`EXIT_DESCRIBED\` come with a description: the fields \`debug_*\` of the shared page. Its threads
are an array of:

${fields(abi.debugThreadFields, abi.debugThread)}

Exit flags, above the wait status:

${numbers(abi.exitFlags)}

## Network

The guest opens a vsock stream to \`NET_PORT\` of the host for each connection that leaves it, and says where to in
\`NET_REQUEST_SIZE\` bytes:

| offset | size | request |
| --- | --- | --- |
| 0 | 1 | version, 1 |
| 1 | 1 | \`NET_STREAM\` or \`NET_DATAGRAM\` |
| 2 | 2 | port, big-endian |
| 4 | 4 | zero |
| 8 | 16 | address: IPv6, or IPv4 in its mapped form (RFC 4291, 2.5.5.2) |

The host answers \`NET_ANSWER_SIZE\` bytes:

| offset | size | answer |
| --- | --- | --- |
| 0 | 1 | version, 1 |
| 1 | 1 | zero |
| 2 | 2 | 0, or Linux's errno of why there is no connection, little-endian |
| 4 | 4 | zero |

After an errno the host ends the stream. Otherwise the bytes of the connection follow, both ways. \`NET_DATAGRAM\` is for the name server
only: each datagram follows its length, 2 bytes, big-endian. \`NET_*_IP\` are IPv4 addresses.

${numbers(abi.network)}
`;
}
