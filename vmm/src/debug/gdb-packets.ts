/**
 * Framing of the GDB remote serial protocol ("Debugging with GDB", appendix E): `$data#checksum`, where `}` escapes a byte of
 * the data, `+` and `-` answer a packet, and 0x03 interrupts. Bytes are kept as latin1 text, one character a byte.
 */

export type Incoming =
  | { kind: 'packet'; data: string }
  /** A packet whose checksum is wrong, or that is longer than PACKET_MAX. */
  | { kind: 'damaged' }
  | { kind: 'interrupt' }
  /** The last packet did not arrive well. */
  | { kind: 'again' };

/** Characters of a packet's data, as told to the debugger. */
export const PACKET_MAX = 0x4000;

/** Cuts a stream into packets. Whatever comes between them is dropped. */
export class PacketReader {
  /** undefined: between packets. */
  #data: string | undefined;
  #checksum = '';
  #ended = false;

  *push(chunk: Uint8Array): Generator<Incoming> {
    for (const byte of chunk) {
      const found = this.#data === undefined ? this.#between(byte) : this.#within(byte);
      if (found !== undefined) yield found;
    }
  }

  #between(byte: number): Incoming | undefined {
    if (byte === 0x24) this.#start(); // $
    if (byte === 0x03) return { kind: 'interrupt' };
    if (byte === 0x2d) return { kind: 'again' }; // -
    return undefined;
  }

  #start(): void {
    this.#data = '';
    this.#checksum = '';
    this.#ended = false;
  }

  #within(byte: number): Incoming | undefined {
    const data = this.#data as string;
    if (this.#ended) return this.#checksumDigit(byte);
    if (byte === 0x23)
      this.#ended = true; // #
    else if (byte === 0x24) this.#start();
    else if (data.length <= PACKET_MAX) this.#data = data + String.fromCharCode(byte);
    return undefined;
  }

  #checksumDigit(byte: number): Incoming | undefined {
    this.#checksum += String.fromCharCode(byte);
    if (this.#checksum.length < 2) return undefined;
    const data = this.#data as string;
    this.#data = undefined;
    const right = data.length <= PACKET_MAX && this.#checksum.toLowerCase() === checksumOf(data);
    return right ? { kind: 'packet', data: plainData(data) } : { kind: 'damaged' };
  }
}

/** A packet with `data`, ready to be sent. */
export function packet(data: string): Buffer {
  const escaped = data.replace(/[#$}*]/g, (c) => `}${String.fromCharCode(c.charCodeAt(0) ^ 0x20)}`);
  return Buffer.from(`$${escaped}#${checksumOf(escaped)}`, 'latin1');
}

function plainData(data: string): string {
  return data.replace(/\}(.)/gs, (_, c: string) => String.fromCharCode(c.charCodeAt(0) ^ 0x20));
}

function checksumOf(data: string): string {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum = (sum + data.charCodeAt(i)) & 0xff;
  return sum.toString(16).padStart(2, '0');
}
