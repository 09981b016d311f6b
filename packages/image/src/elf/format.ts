/** Numbers of the ELF-64 file format (System V gABI, chapters 4 and 5) that the parser uses. */

export const ELF_MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);
export const ELF_HEADER_SIZE = 64;
export const PROGRAM_HEADER_SIZE = 56;
export const SECTION_HEADER_SIZE = 64;
export const SYMBOL_SIZE = 24;
export const DYNAMIC_SIZE = 16;

export const CLASS_64 = 2;
export const DATA_LITTLE = 1;
export const MACHINE_X86_64 = 62;

export const ET = { rel: 1, exec: 2, dyn: 3, core: 4 } as const;
export const PT = { load: 1, dynamic: 2, interp: 3, tls: 7 } as const;
export const SHT = { symtab: 2, strtab: 3, nobits: 8, dynsym: 11 } as const;
export const DT = {
  null: 0,
  needed: 1,
  strtab: 5,
  strsz: 10,
  soname: 14,
  rpath: 15,
  runpath: 29,
} as const;

const MACHINE_NAMES = new Map([
  [3, '32-bit x86'],
  [8, 'MIPS'],
  [20, '32-bit PowerPC'],
  [21, '64-bit PowerPC'],
  [22, 's390x'],
  [40, '32-bit ARM'],
  [62, 'x86-64'],
  [183, '64-bit ARM'],
  [243, 'RISC-V'],
  [258, 'LoongArch'],
]);

/** A machine number in words, for error messages. */
export function machineName(machine: number): string {
  return MACHINE_NAMES.get(machine) ?? `machine ${machine}`;
}
