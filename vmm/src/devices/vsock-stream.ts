/**
 * Why a stream ended: both sides were done; the guest refused or broke it; the host destroyed it; or the machine went
 * back to a checkpoint that does not know the stream.
 */
export type VsockCloseReason = 'closed' | 'refused' | 'reset' | 'destroyed' | 'rewound';

/**
 * The host's end of one vsock stream. Callbacks are plain properties: set them where the stream is handed over.
 *
 * A stream that was open when its device was saved is back in that state after each restore(), as the same object,
 * whatever had happened to it since: the callbacks then simply start again.
 */
export interface VsockStream {
  readonly hostPort: number;
  readonly guestPort: number;
  /** Whether data can go both ways or, after connect(), will as soon as the guest accepts. */
  readonly closed: boolean;
  /** Bytes that wait in the host for the guest to take them. */
  readonly bufferedBytes: number;

  /** The guest accepted a connect(). */
  onOpen: () => void;
  /** Bytes from the guest. The chunk is guest memory and valid during the call only: copy what must stay. */
  onData: (chunk: Uint8Array) => void;
  /** The guest will send no more. */
  onEnd: () => void;
  /** Everything written has left the host, after a write() that returned false. */
  onDrain: () => void;
  /** The stream is over; called once, last. */
  onClose: (reason: VsockCloseReason) => void;

  /**
   * Sends bytes: into the guest's buffers at once where there are some, else copied to wait.
   * False: enough waits, go on after onDrain. Bytes for a guest that takes no more are dropped.
   * MayflyError MAYFLY_VSOCK_ENDED after end().
   */
  write(bytes: Uint8Array): boolean;
  /** No more writes: the guest reads end-of-file behind the last byte. */
  end(): void;
  /** Breaks the stream now: the guest gets a reset. */
  destroy(): void;
  /** Holds onData back. The guest may send on until its credit is used up, and then waits. */
  pause(): void;
  /** Delivers what was held back and goes on. */
  resume(): void;
}
