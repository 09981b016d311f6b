/**
 * The common parent of every error that Mayfly throws on purpose.
 *
 * `code` is stable and part of the interface (for example 'MAYFLY_KVM_MISSING'): programs branch on it, people read
 * `message`.
 */
export class MayflyError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MayflyError';
    this.code = code;
  }
}
