/** V8's collector of garbage, for which Node.js has no call; the program shall not see that we have one. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export type Collect = (options?: { type: 'minor' }) => void;

export function newCollector(): Collect {
  setFlagsFromString('--expose-gc'); // for contexts that are made from now on
  const collect = runInNewContext('gc') as Collect;
  setFlagsFromString('--no-expose-gc');
  return collect;
}
