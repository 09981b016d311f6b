/** What an invocation of a function comes to. */
import type { ResponseHead, ResultHead } from '@mayfly/protocol';

export interface Reply {
  head: Omit<ResponseHead, 'logs'> | Omit<ResultHead, 'logs'>;
  body?: Uint8Array | ReadableStream<Uint8Array> | undefined;
}
