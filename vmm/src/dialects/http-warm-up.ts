/** A call that warms a server up before its template is made, on a connection of its own. */
import { type CallHead, MayflyError, nameOfWarmUp, type WarmUpCall } from '@mayfly/protocol';
import type { VsockStream } from '../devices/index.js';
import { HttpAnswer } from './http-answer.js';
import { methodOf, requestHead } from './http-request.js';

/** A status from here on says that the server, or the path, is not what was meant. */
const FAILED_FROM = 400;

export class HttpWarmUp {
  readonly #name: string;
  readonly #answer: HttpAnswer;
  readonly #stream: VsockStream;
  #status = 0;
  #error: MayflyError | undefined;

  /** @param stream that was accepted; it is this object's from now on */
  constructor(stream: VsockStream, call: WarmUpCall) {
    this.#name = nameOfWarmUp(call);
    this.#stream = stream;
    this.#answer = new HttpAnswer(methodOf(call.head), {
      head: (status) => {
        this.#status = status;
      },
      body: () => {},
      end: () => stream.end(),
    });
    stream.onData = (bytes) => this.#guarded(() => this.#answer.push(bytes));
    stream.onEnd = () => this.#guarded(() => this.#answer.close());
    stream.onClose = () => this.#guarded(() => this.#answer.close());
    const body = Buffer.from(call.body);
    stream.write(Buffer.concat([requestHead(closing(call.head), body.byteLength), body]));
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
      const message = `${this.#name}, which is to warm the server up, was answered with ${this.#status}`;
      throw new MayflyError('MAYFLY_BOOT_FAILED', message);
    }
    if (!this.#stream.closed) this.#stream.destroy();
    return true;
  }

  get missing(): string {
    return `the server does not answer ${this.#name}, which is to warm it up`;
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#error ??= error as MayflyError;
    }
  }
}

/** There is no other on the connection. */
function closing(head: CallHead): CallHead {
  if (head.type === 'event') return head;
  const headers = head.headers.filter(([name]) => name !== 'connection');
  return { ...head, headers: [...headers, ['connection', 'close']] };
}
