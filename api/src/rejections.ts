/** How a promise is rejected. */

/** The same promise, but rejected with what `asWhat` makes of the reason. It need not be waited for. */
export function rejectedAs<T>(
  promise: Promise<T>,
  asWhat: (reason: unknown) => unknown,
): Promise<T> {
  const told = promise.catch((reason: unknown) => {
    throw asWhat(reason);
  });
  told.catch(() => {});
  return told;
}
