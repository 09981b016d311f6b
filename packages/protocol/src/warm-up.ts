/** Calls that a function or a server answers before its template is made. */
import type { CallHead } from './messages.js';

export interface WarmUpCall {
  /** The URL of a request begins with WARM_UP_ORIGIN. */
  head: CallHead;
  body: string;
}

export const WARM_UP_ORIGIN = 'http://localhost';

/** For messages: its method and path, or that it is an event. */
export function nameOfWarmUp({ head }: WarmUpCall): string {
  return head.type === 'event'
    ? 'the event'
    : `${head.method} ${head.url.slice(WARM_UP_ORIGIN.length)}`;
}
