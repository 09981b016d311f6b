/**
 * What the API asks of the pool: templates by name, invocations in clones of them. Types only; frames are those of
 * @mayfly/protocol, and their heads go through the pool unread.
 */

/** Everything that decides what a template is. */
export interface TemplateSpec {
  name: string;
  /** Paths of EROFS images, bottom first. */
  images: string[];
  argv: string[];
  env: Record<string, string>;
  cwd?: string;
  memoryBytes: number;
  bootTimeoutMs: number;
}

export interface InvokeFrame {
  /** Anything that JSON can say; see HostHead. */
  head: unknown;
  body: Uint8Array;
}

export interface InvokeResult {
  /** As the guest wrote it: a JSON object, nothing more is known. */
  head: unknown;
  body: Uint8Array;
  /** From the entry into the guest until its answer was read. */
  guestMicros: number;
  /** From the call of invoke() until the entry into the guest. */
  queueMicros: number;
  /** Pages that were put back after the invocation, as far as known when it is answered. */
  rewoundPages: number;
}

/**
 * What a pool throws, as a MayflyError: MAYFLY_GUEST_TIMEOUT, MAYFLY_GUEST_EXITED, MAYFLY_GUEST_PANIC,
 * MAYFLY_GUEST_OOM, MAYFLY_BOOT_FAILED, MAYFLY_TEMPLATE_TAMPERED, MAYFLY_OVERLOADED, MAYFLY_TEMPLATE_UNKNOWN, ...
 */
export interface MachineFailure {
  code: string;
  message: string;
  detail?: string;
}

export interface Pool {
  /**
   * Boots the program and captures a template when it waits for its first frame. Resolves with the head of the first
   * frame that the guest sent, whatever it says: an agent that could not load its function sends an error and exits,
   * and then there is no template to remove.
   */
  deploy(spec: TemplateSpec): Promise<{ bootMicros: number; readyHead: unknown }>;
  /** Runs one frame in a pristine clone. An aborted signal rejects with its reason and stops the clone. */
  invoke(
    name: string,
    frame: InvokeFrame,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<InvokeResult>;
  /** Forgets a template; unknown names are no error. Invocations under way are the caller's to wait for. */
  remove(name: string): Promise<void>;
  close(): Promise<void>;
}
