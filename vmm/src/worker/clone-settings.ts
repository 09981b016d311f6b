/** How a pool makes and keeps its clones. Plain data: it crosses threads. */
export interface CloneSettings {
  /**
   * 'prefetch': pages that first invocations of a template wrote are copied when a clone is made, not one by one at the
   * guest's first write. 'lazy': nothing is copied before it is written, for many clones that are seldom used.
   */
  memory: 'prefetch' | 'lazy';
  /** VMs that each worker keeps ready. */
  shells: number;
  /** A clone that wrote more pages than these is replaced, not rewound: a rewind goes on to copy them each time. */
  dirtyPagesMax: number;
}

/**
 * To be measured on a host with KVM; docs/decisions/0012-how-clones-are-made.md has the reasons. Copying 8,192 pages takes
 * about as long as the first answer of a new clone.
 */
export const CLONE_SETTINGS: Readonly<CloneSettings> = Object.freeze({
  memory: 'prefetch',
  shells: 2,
  dirtyPagesMax: 8192,
});
