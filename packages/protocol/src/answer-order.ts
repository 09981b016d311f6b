/**
 * The order of an agent's frames in one invocation, checked: the guest is hostile, and a chunk without a head must not
 * reach anybody.
 *
 *             log ↺                log ↺ chunk ↺                 log ↺
 *   ► head ──────────┬─ [more] ─► body ────────┬─ [pending] ─► pending ─ done ─► over
 *                    │                         └─ chunk [end] ──────────────────► over
 *                    ├─ [pending] ─────────────────────────────► pending
 *                    └──────────────────────────────────────────────────────────► over
 *
 * An error frame leads to `over` from everywhere.
 */
import { MayflyError } from './errors.js';

/** What the next frame may be; `over`: the invocation is, and nothing more is expected. */
export type AnswerPhase = 'head' | 'body' | 'pending' | 'over';

/** What a frame is in its place. Whatever is no other is the head of an answer, for the API to check. */
export type AnswerPart = 'head' | 'chunk' | 'log' | 'error' | 'done';

const OTHERS = new Set<unknown>(['chunk', 'log', 'error', 'done'] satisfies AnswerPart[]);

export class AnswerOrder {
  phase: AnswerPhase = 'head';

  /** The invocation is. */
  get over(): boolean {
    return this.phase === 'over';
  }

  /**
   * Takes the head of the agent's next frame.
   *
   * @throws MayflyError MAYFLY_FRAME_UNEXPECTED when this frame must not come now; the answer cannot be completed then
   */
  take(head: Readonly<Record<string, unknown>>): AnswerPart {
    const part = OTHERS.has(head.type) ? (head.type as AnswerPart) : 'head';
    if (this.over || !this.#fits(part)) this.#refuse(part);
    if (part === 'error' || part === 'done') this.phase = 'over';
    else if (part === 'chunk') this.phase = head.end === true ? afterBody(head) : 'body';
    else if (part === 'head') this.phase = head.more === true ? 'body' : afterBody(head);
    return part;
  }

  #fits(part: AnswerPart): boolean {
    if (part === 'head') return this.phase === 'head';
    if (part === 'chunk') return this.phase === 'body';
    if (part === 'done') return this.phase === 'pending';
    return true;
  }

  #refuse(part: AnswerPart): never {
    const before: Record<AnswerPhase, string> = {
      head: 'before the head of an answer',
      body: 'within the body of an answer',
      pending: 'behind an answer',
      over: 'behind the end of the invocation',
    };
    throw new MayflyError(
      'MAYFLY_FRAME_UNEXPECTED',
      `the guest sent a frame (${part}) ${before[this.phase]}, where none may be`,
    );
  }
}

/** What becomes of an answer whose head was there before the agent sent this error frame; the frame's head is the cause. */
export function answerBroken(errorHead: Readonly<Record<string, unknown>>): MayflyError {
  const message = 'the function failed after its answer had begun';
  return new MayflyError('MAYFLY_ANSWER_BROKEN', message, { cause: errorHead });
}

function afterBody(head: Readonly<Record<string, unknown>>): AnswerPhase {
  return head.pending === true ? 'pending' : 'over';
}
