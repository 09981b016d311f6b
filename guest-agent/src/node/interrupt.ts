/** The function's code, and how to end it from outside of the promise that it returned. */

/** Undefined while none of its code runs. */
let reject: ((error: unknown) => void) | undefined;

/** Runs code of the function so that interrupt() ends the wait for it. */
export function interruptible<T>(work: () => Promise<T>): Promise<T> {
  return new Promise<T>((resolve, fail) => {
    reject = (error) => {
      reject = undefined;
      fail(error);
    };
    work().then((value) => {
      reject = undefined;
      resolve(value);
    }, reject);
  });
}

export function isRunning(): boolean {
  return reject !== undefined;
}

/** The wait ends with this error. Does nothing while none of the function's code runs. */
export function interrupt(error: unknown): void {
  reject?.(error);
}
