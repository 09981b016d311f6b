/**
 * Which invocations a process has begun with, in a file that outlives it: whoever gave them to it looks there when it died. An
 * invocation has a ticket, a number that rises; its slot in the file holds the ticket that was begun there last.
 */
import { readSync, writeSync } from 'node:fs';

/** More than can be under way at once. */
const SLOTS = 1 << 16;
const TICKET_BYTES = 4;

export class Journal {
  readonly #fd: number;
  readonly #ticket = new Uint32Array(1);

  constructor(fd: number) {
    this.#fd = fd;
  }

  begin(ticket: number): void {
    this.#ticket[0] = ticket;
    writeSync(this.#fd, this.#ticket, 0, TICKET_BYTES, placeOf(ticket));
  }

  /** Where a later one has taken the slot: most likely. */
  hasBegun(ticket: number): boolean {
    this.#ticket[0] = 0;
    readSync(this.#fd, this.#ticket, 0, TICKET_BYTES, placeOf(ticket));
    return this.#ticket[0] >= ticket;
  }
}

const placeOf = (ticket: number) => (ticket % SLOTS) * TICKET_BYTES;
