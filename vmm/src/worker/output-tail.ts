const OUTPUT_MAX = 16 * 1024;

/** Keeps the last bytes of what a guest printed: they explain its end. */
export class OutputTail {
  #bytes = Buffer.alloc(0);
  readonly add = (chunk: Uint8Array): void => {
    this.#bytes = Buffer.concat([this.#bytes, chunk]).subarray(-OUTPUT_MAX);
  };
  get empty(): boolean {
    return this.#bytes.byteLength === 0;
  }
  get text(): string {
    return this.#bytes.toString();
  }
}
