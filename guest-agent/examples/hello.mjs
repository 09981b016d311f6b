// The smallest function that shows what a clone is: the counter never gets past 1.
import { randomUUID } from 'node:crypto';

let counter = 0;

export function handler(event) {
  counter++;
  return {
    hello: event.query?.name ?? 'world',
    counter,
    node: process.version,
    pid: process.pid,
    id: randomUUID(),
  };
}
