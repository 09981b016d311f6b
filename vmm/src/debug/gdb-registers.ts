/** The registers as gdb numbers them, by the target description that we give it, and where a stopped thread keeps them. */
import type { AddressSpace } from './address-space.js';
import {
  type FrameRegister,
  frameRegisters,
  type GuestThread,
  vectors,
} from './stopped-process.js';
import { normalXsave } from './vector-state.js';

type Place =
  | { in: 'regs'; name: FrameRegister }
  | { in: 'origRax' | 'fsBase' | 'gsBase' }
  /** `bytes` of the XSAVE area at `offset`; `component` must be marked as used when they are written. */
  | { in: 'xsave'; offset: number; bytes: number; component: bigint }
  | { in: 'tags' }
  | { in: 'constant'; value: bigint };

interface Register {
  name: string;
  /** In gdb's packets. */
  bytes: number;
  type: string;
  feature: string;
  place: Place;
}

const X87 = 1n;
const SSE = 2n;
const AVX = 4n;
const XSTATE_BV = 512;

function general(name: FrameRegister, type = 'int64', bytes = 8): Register {
  const gdbName = name === 'rflags' ? 'eflags' : name;
  return { name: gdbName, bytes, type, feature: 'core', place: { in: 'regs', name } };
}

const names = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi'] as const;
const numbered = ['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] as const;

function selector(name: string, value: bigint): Register {
  return { name, bytes: 4, type: 'int32', feature: 'core', place: { in: 'constant', value } };
}

function fpu(name: string, offset: number, bytes: number): Register {
  const place = { in: 'xsave', offset, bytes, component: X87 } as const;
  return { name, bytes: 4, type: 'int', feature: 'core', place };
}

function vector(feature: string, name: string, at: number, bytes: number, type: string): Register {
  const component = feature === 'avx' ? AVX : feature === 'sse' ? SSE : X87;
  return { name, bytes, type, feature, place: { in: 'xsave', offset: at, bytes, component } };
}

const sixteen = [...Array(16).keys()];

const REGISTERS: readonly Register[] = [
  ...names.map((name) => general(name)),
  general('rbp', 'data_ptr'),
  general('rsp', 'data_ptr'),
  ...numbered.map((name) => general(name)),
  general('rip', 'code_ptr'),
  general('rflags', 'i386_eflags', 4),
  general('cs', 'int32', 4),
  general('ss', 'int32', 4),
  selector('ds', 0x2bn),
  selector('es', 0x2bn),
  selector('fs', 0n),
  selector('gs', 0n),
  ...sixteen.slice(0, 8).map((i) => vector('core', `st${i}`, 32 + 16 * i, 10, 'i387_ext')),
  fpu('fctrl', 0, 2),
  fpu('fstat', 2, 2),
  { name: 'ftag', bytes: 4, type: 'int', feature: 'core', place: { in: 'tags' } },
  fpu('fiseg', 12, 2),
  fpu('fioff', 8, 4),
  fpu('foseg', 20, 2),
  fpu('fooff', 16, 4),
  fpu('fop', 6, 2),
  ...sixteen.map((i) => vector('sse', `xmm${i}`, 160 + 16 * i, 16, 'vec128')),
  { ...vector('sse', 'mxcsr', 24, 4, 'i386_mxcsr') },
  {
    name: 'orig_rax',
    bytes: 8,
    type: 'int64',
    feature: 'linux',
    place: { in: 'origRax' },
  },
  { name: 'fs_base', bytes: 8, type: 'int64', feature: 'segments', place: { in: 'fsBase' } },
  { name: 'gs_base', bytes: 8, type: 'int64', feature: 'segments', place: { in: 'gsBase' } },
  ...sixteen.map((i) => vector('avx', `ymm${i}h`, 576 + 16 * i, 16, 'uint128')),
];

export const REGISTER_COUNT = REGISTERS.length;

/** Types that gdb does not bring along. */
const TYPES: Readonly<Record<string, string>> = {
  core: `<flags id="i386_eflags" size="4"><field name="CF" start="0" end="0"/><field name="PF" start="2" end="2"/>
<field name="AF" start="4" end="4"/><field name="ZF" start="6" end="6"/><field name="SF" start="7" end="7"/>
<field name="TF" start="8" end="8"/><field name="IF" start="9" end="9"/><field name="DF" start="10" end="10"/>
<field name="OF" start="11" end="11"/></flags>`,
  sse: `<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>
<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>
<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>
<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>
<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/>
<field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>
<flags id="i386_mxcsr" size="4"><field name="IE" start="0" end="0"/></flags>`,
};

/** The target description for gdb ("Debugging with GDB", appendix G). */
export function targetDescription(): string {
  const features = ['core', 'sse', 'linux', 'segments', 'avx'].map((feature) => {
    const rows = REGISTERS.filter((r) => r.feature === feature).map(
      (r) => `<reg name="${r.name}" bitsize="${8 * r.bytes}" type="${r.type}"/>`,
    );
    return `<feature name="org.gnu.gdb.i386.${feature}">${TYPES[feature] ?? ''}${rows.join('\n')}</feature>`;
  });
  return `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>
<architecture>i386:x86-64</architecture><osabi>GNU/Linux</osabi>${features.join('\n')}</target>`;
}

function littleEndian(value: bigint, bytes: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt.asUintN(64, value));
  return out.subarray(0, bytes);
}

/** The bytes of a register; undefined when there is none of that number, or no such state. */
export function readRegister(thread: GuestThread, number: number): Buffer | undefined {
  const register = REGISTERS[number];
  if (register === undefined) return undefined;
  const { place, bytes } = register;
  if (place.in === 'regs') return littleEndian(thread.registers[place.name], bytes);
  if (place.in === 'constant') return littleEndian(place.value, bytes);
  if (place.in !== 'xsave' && place.in !== 'tags') {
    return littleEndian(thread.registers[place.in], bytes);
  }
  if (thread.xsave.length === 0) return undefined;
  const area = normalXsave(thread.xsave, AVX | SSE | X87);
  if (place.in === 'tags') return littleEndian(fullTags(area), bytes);
  if (place.offset + place.bytes > area.length) return undefined;
  const out = Buffer.alloc(bytes);
  area.copy(out, 0, place.offset, place.offset + place.bytes);
  return out;
}

/** FXSAVE keeps one bit a register, used or empty; gdb wants the two that FSAVE has. */
function fullTags(area: Buffer): bigint {
  const used = area.readUInt8(4);
  let tags = 0n;
  for (let i = 0; i < 8; i++) if (((used >> i) & 1) === 0) tags |= 3n << BigInt(2 * i);
  return tags;
}

/** All of them, as a `g` packet has them: hexadecimal, `x` for what is not there. */
export function allRegisters(thread: GuestThread): string {
  return REGISTERS.map((r, i) => {
    return readRegister(thread, i)?.toString('hex') ?? 'x'.repeat(2 * r.bytes);
  }).join('');
}

/** The part of a `G` packet that belongs to each register. */
export function splitRegisters(hex: string): string[] {
  let at = 0;
  return REGISTERS.map((r) => {
    at += 2 * r.bytes;
    return hex.slice(at - 2 * r.bytes, at);
  });
}

/** Changes a register where the guest kernel keeps it. False when that cannot be. */
export function writeRegister(
  memory: AddressSpace,
  thread: GuestThread,
  number: number,
  bytes: Buffer,
): boolean {
  const register = REGISTERS[number];
  if (register === undefined || bytes.length !== register.bytes) return false;
  const { place } = register;
  const old = readRegister(thread, number);
  if (old?.equals(bytes)) return true;
  if (place.in === 'regs') return writeFrame(memory, thread, place.name, bytes);
  if (place.in === 'fsBase' || place.in === 'gsBase') {
    thread.registers[place.in] = bytes.readBigUInt64LE();
    return memory.write(thread.at[place.in], bytes);
  }
  if (place.in === 'xsave') return writeVector(memory, thread, place, bytes);
  return place.in === 'origRax' && writeCall(memory, thread, bytes);
}

/** The number of an interrupted call that is to begin again, or -1: gdb writes that when it takes the thread elsewhere. */
function writeCall(memory: AddressSpace, thread: GuestThread, number: Buffer): boolean {
  const none = number.readBigInt64LE() === -1n;
  thread.registers.origRax = number.readBigUInt64LE();
  const vector = littleEndian(none ? vectors.none : vectors.call, 8);
  if (!writeFrame(memory, thread, 'vector', vector)) return false;
  return none || writeFrame(memory, thread, 'error', number);
}

export function writeFrame(
  memory: AddressSpace,
  thread: GuestThread,
  name: FrameRegister,
  bytes: Buffer,
): boolean {
  const value = Buffer.alloc(8);
  bytes.copy(value);
  thread.registers[name] = value.readBigUInt64LE();
  return memory.write(thread.at.regs + BigInt(8 * frameRegisters.indexOf(name)), value);
}

function writeVector(
  memory: AddressSpace,
  thread: GuestThread,
  place: Extract<Place, { in: 'xsave' }>,
  bytes: Buffer,
): boolean {
  if (place.offset + place.bytes > thread.xsave.length) return false;
  const used = thread.xsave.readBigUInt64LE(XSTATE_BV);
  const area = normalXsave(thread.xsave, AVX | SSE | X87);
  bytes.copy(area, place.offset, 0, place.bytes);
  area.copy(thread.xsave, 0, 0, XSTATE_BV);
  area.copy(thread.xsave, 576, 576);
  thread.xsave.writeBigUInt64LE(used | place.component, XSTATE_BV);
  return memory.write(thread.at.xsave, thread.xsave);
}
