/** What the checkpoints of the fault tests hold. */
export const CONTENT = {
  root: new Map([
    [1, 1],
    [2, 2],
    [700, 3],
  ]),
  middle: new Map([
    [1, 1],
    [2, 20],
    [700, 3],
    [5, 5],
  ]),
  leaf: new Map([
    [1, 1],
    [2, 20],
    [700, 30],
    [5, 5],
  ]),
  new: new Map([
    [2, 42],
    [900, 9],
  ]),
} as const;
