/** The request that warms a server up before its template is made, on a connection of its own. */
import { MayflyError } from '@mayfly/protocol';
import type { VsockStream } from '../devices/index.js';
import { HttpAnswer } from './http-answer.js';

/** A status from here on says that the server, or the path, is not what was meant. */
const FAILED_FROM = 400;

export class HttpWarmUp {
  readonly #path: string;
  readonly #answer: HttpAnswer;
  readonly #stream: VsockStream;
  #status = 0;
  #error: MayflyError | undefined;

  /** @param stream that was accepted; it is this object's from now on */
  constructor(stream: VsockStream, path: string) {
    this.#path = path;
    this.#stream = stream;
    this.#answer = new HttpAnswer('GET', {
      head: (status) => {
        this.#status = status;
      },
      body: () => {},
      end: () => stream.end(),
    });
    stream.onData = (bytes) => this.#guarded(() => this.#answer.push(bytes));
    stream.onEnd = () => this.#guarded(() => this.#answer.close());
    stream.onClose = () => this.#guarded(() => this.#answer.close());
    const head = `GET ${path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: mayfly-warmup\r\nconnection: close\r\n\r\n`;
    stream.write(Buffer.from(head, 'latin1'));
  }

  /**
   * Whether the server has answered; then the connection is gone.
   *
   * @throws MayflyError MAYFLY_HTTP_DAMAGED, MAYFLY_BOOT_FAILED
   */
  get over(): boolean {
    if (this.#error) throw this.#error;
    if (!this.#answer.over) return false;
    if (this.#status >= FAILED_FROM) {
      const message = `GET ${this.#path}, which is to warm the server up, was answered with ${this.#status}`;
      throw new MayflyError('MAYFLY_BOOT_FAILED', message);
    }
    if (!this.#stream.closed) this.#stream.destroy();
    return true;
  }

  get missing(): string {
    return `the server does not answer GET ${this.#path}, which is to warm it up`;
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#error ??= error as MayflyError;
    }
  }
}
