/**
 * How to find a function's caller without a frame pointer: the rules of an ELF file's .eh_frame (DWARF 5, 6.4, as the
 * Linux Standard Base restricts it). Rules that are DWARF expressions are not followed.
 */

/** DWARF numbers of x86-64 registers (psABI, figure 3.36). */
export const dwarf = { rbx: 3, rbp: 6, rsp: 7, r12: 12, r15: 15, rip: 16 } as const;

/** The frame's canonical address is register + offset; `saved` registers lie at that address + their offset. */
export interface FrameRule {
  cfaRegister: number;
  cfaOffset: number;
  saved: ReadonlyMap<number, number>;
  /** The outermost frame: it has no caller. */
  outermost: boolean;
}

interface Cie {
  codeAlign: number;
  dataAlign: number;
  augmented: boolean;
  encoding: number;
  /** Where its initial instructions are. */
  start: number;
  end: number;
}

interface Fde {
  cie: Cie;
  from: number;
  to: number;
  start: number;
  end: number;
}

/** Reads numbers; runs off the end with a RangeError, as Buffer does. */
class Cursor {
  readonly bytes: Buffer;
  at: number;
  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes;
    this.at = at;
  }
  u8(): number {
    return this.bytes.readUInt8(this.at++);
  }
  u16(): number {
    this.at += 2;
    return this.bytes.readUInt16LE(this.at - 2);
  }
  u32(): number {
    this.at += 4;
    return this.bytes.readUInt32LE(this.at - 4);
  }
  uleb(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      if (scale > 2 ** 49) throw new RangeError('a number without end');
    }
  }
  /** A length, and as many bytes. */
  skipBlock(): void {
    const length = this.uleb();
    this.at += length;
  }
  sleb(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return (byte & 0x40) === 0 ? value : value - scale * 128;
      if (scale > 2 ** 42) throw new RangeError('a number without end');
    }
  }
}

const OMITTED = 0xff;
const PC_RELATIVE = 0x10;

/** A pointer in one of the encodings of DW_EH_PE that files on disk use; `base` is what pc-relative ones add to. */
function readPointer(c: Cursor, encoding: number, base: number): number {
  const start = c.at;
  const relative = (encoding & 0x70) === PC_RELATIVE ? base + start : 0;
  switch (encoding & 0x0f) {
    case 0x00:
    case 0x04:
    case 0x0c:
      c.at += 8;
      return relative + Number(c.bytes.readBigInt64LE(start));
    case 0x02:
      return relative + c.u16();
    case 0x03:
      return relative + c.u32();
    case 0x0b:
      c.at += 4;
      return relative + c.bytes.readInt32LE(start);
    default:
      throw new RangeError(`pointer encoding ${encoding}`);
  }
}

export class CallFrames {
  readonly #bytes: Buffer;
  readonly #fdes: Fde[];

  /** `bytes` are the section .eh_frame, whose address in the file's own numbering is `address`. */
  constructor(bytes: Buffer, address: number) {
    this.#bytes = bytes;
    this.#fdes = readFdes(bytes, address).sort((a, b) => a.from - b.from);
  }

  /** The rule that holds at an address (the file's numbering); undefined where the file says nothing usable. */
  ruleAt(address: number): FrameRule | undefined {
    let low = 0;
    let high = this.#fdes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#fdes[middle] as Fde).from <= address) low = middle + 1;
      else high = middle;
    }
    const fde = this.#fdes[low - 1];
    if (fde === undefined || address >= fde.to) return undefined;
    try {
      return new RuleMachine(fde).run(this.#bytes, address);
    } catch (error) {
      if (error instanceof RangeError) return undefined;
      throw error;
    }
  }
}

/** Damage ends the list: what was read before it holds. */
function readFdes(bytes: Buffer, address: number): Fde[] {
  const fdes: Fde[] = [];
  const cies = new Map<number, Cie>();
  try {
    for (let at = 0; at + 4 <= bytes.length; ) {
      const length = bytes.readUInt32LE(at);
      if (length === 0 || length === 0xffffffff) break;
      const body = at + 4;
      const end = body + length;
      if (end > bytes.length) break;
      const id = bytes.readUInt32LE(body);
      if (id === 0) cies.set(at, readCie(bytes, body + 4, end));
      const cie = id === 0 ? undefined : cies.get(body - id);
      if (cie !== undefined) fdes.push(readFde(bytes, body + 4, end, cie, address));
      at = end;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return fdes;
}

function readCie(bytes: Buffer, at: number, end: number): Cie {
  const c = new Cursor(bytes, at);
  const version = c.u8();
  const nameEnd = bytes.indexOf(0, c.at);
  const augmentation = bytes.toString('latin1', c.at, nameEnd);
  c.at = nameEnd + 1;
  const codeAlign = c.uleb();
  const dataAlign = c.sleb();
  if (version === 1) c.u8();
  else c.uleb(); // the return address's column: always rip
  const cie = { codeAlign, dataAlign, augmented: augmentation.startsWith('z'), encoding: 0, end };
  if (!cie.augmented) return { ...cie, start: c.at };
  const size = c.uleb();
  const start = c.at + size;
  for (const letter of augmentation.slice(1)) {
    if (letter === 'R') cie.encoding = c.u8();
    else if (letter === 'L') c.u8();
    else if (letter === 'P') readPointer(c, c.u8(), 0);
    else if (letter !== 'S') break;
  }
  return { ...cie, start };
}

function readFde(bytes: Buffer, at: number, end: number, cie: Cie, address: number): Fde {
  const c = new Cursor(bytes, at);
  if (cie.encoding === OMITTED) throw new RangeError('a frame without an address');
  const from = readPointer(c, cie.encoding, address);
  const size = readPointer(c, cie.encoding & 0x0f, 0);
  if (cie.augmented) c.skipBlock();
  return { cie, from, to: from + size, start: c.at, end };
}

interface State {
  cfaRegister: number;
  cfaOffset: number;
  saved: Map<number, number>;
  outermost: boolean;
}

const REMEMBERED_MAX = 64;

/** Executes call-frame instructions up to an address. */
class RuleMachine {
  readonly #fde: Fde;
  #state: State = { cfaRegister: -1, cfaOffset: 0, saved: new Map(), outermost: false };
  #initial: State = this.#state;
  #location: number;
  readonly #remembered: State[] = [];

  constructor(fde: Fde) {
    this.#fde = fde;
    this.#location = fde.from;
  }

  run(bytes: Buffer, address: number): FrameRule | undefined {
    const { cie, start, end } = this.#fde;
    this.#execute(bytes, cie.start, cie.end, Number.POSITIVE_INFINITY);
    this.#initial = copyOf(this.#state);
    this.#execute(bytes, start, end, address);
    return this.#state.cfaRegister < 0 ? undefined : this.#state;
  }

  #execute(bytes: Buffer, start: number, end: number, address: number): void {
    const c = new Cursor(bytes, start);
    while (c.at < end && this.#location <= address) this.#step(c);
  }

  #step(c: Cursor): void {
    const code = c.u8();
    const low = code & 0x3f;
    const { codeAlign, dataAlign } = this.#fde.cie;
    if (code >> 6 === 1) this.#location += low * codeAlign;
    else if (code >> 6 === 2) this.#save(low, c.uleb() * dataAlign);
    else if (code >> 6 === 3) this.#restore(low);
    else this.#extended(low, c);
  }

  #extended(code: number, c: Cursor): void {
    const { codeAlign, dataAlign } = this.#fde.cie;
    switch (code) {
      case 0x00: // nop
        return;
      case 0x02:
        this.#location += c.u8() * codeAlign;
        return;
      case 0x03:
        this.#location += c.u16() * codeAlign;
        return;
      case 0x04:
        this.#location += c.u32() * codeAlign;
        return;
      case 0x05: // offset_extended
        this.#save(c.uleb(), c.uleb() * dataAlign);
        return;
      case 0x06:
        this.#restore(c.uleb());
        return;
      case 0x07: // undefined
        if (c.uleb() === dwarf.rip) this.#state.outermost = true;
        return;
      case 0x08: // same_value
        this.#state.saved.delete(c.uleb());
        return;
      case 0x0a:
        if (this.#remembered.length >= REMEMBERED_MAX) throw new RangeError('too deep');
        this.#remembered.push(copyOf(this.#state));
        return;
      case 0x0b:
        this.#state = this.#remembered.pop() ?? this.#state;
        return;
      case 0x0c: // def_cfa
        this.#state.cfaRegister = c.uleb();
        this.#state.cfaOffset = c.uleb();
        return;
      case 0x0d:
        this.#state.cfaRegister = c.uleb();
        return;
      case 0x0e:
        this.#state.cfaOffset = c.uleb();
        return;
      case 0x0f: // def_cfa_expression
        this.#state.cfaRegister = -1;
        c.skipBlock();
        return;
      case 0x10: // expression, val_expression: the register is lost
      case 0x16:
        this.#state.saved.delete(c.uleb());
        c.skipBlock();
        return;
      case 0x11: // offset_extended_sf
        this.#save(c.uleb(), c.sleb() * dataAlign);
        return;
      case 0x12: // def_cfa_sf
        this.#state.cfaRegister = c.uleb();
        this.#state.cfaOffset = c.sleb() * dataAlign;
        return;
      case 0x13:
        this.#state.cfaOffset = c.sleb() * dataAlign;
        return;
      case 0x2e: // GNU_args_size
        c.uleb();
        return;
      default:
        throw new RangeError(`call-frame instruction ${code}`);
    }
  }

  #save(register: number, offset: number): void {
    this.#state.saved.set(register, offset);
  }

  #restore(register: number): void {
    const offset = this.#initial.saved.get(register);
    if (offset === undefined) this.#state.saved.delete(register);
    else this.#state.saved.set(register, offset);
  }
}

function copyOf(state: State): State {
  return { ...state, saved: new Map(state.saved) };
}
