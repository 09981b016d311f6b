const OUTPUT_MAX = 16 * 1024;

/** Keeps the last bytes of what a guest printed: they explain its end. */
export class OutputTail {
  #text = '';
  readonly add = (chunk: Uint8Array): void => {
    this.#text = (this.#text + Buffer.from(chunk).toString()).slice(-OUTPUT_MAX);
  };
  get empty(): boolean {
    return this.#text === '';
  }
  get text(): string {
    return this.#text;
  }
}
