/** Pieces of a body that go on together. */
export class Pieces {
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  add(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#bytes += piece.byteLength;
  }

  /** All of them, as one; then there are none. */
  take(): Uint8Array {
    const [first = new Uint8Array(), ...more] = this.#pieces;
    this.#pieces = [];
    this.#bytes = 0;
    return more.length === 0 ? first : Buffer.concat([first, ...more]);
  }
}
