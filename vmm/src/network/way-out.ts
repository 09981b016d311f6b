/** A machine's way out. Most never take it: what it needs is loaded when the guest asks for the first connection. */
import { abi } from '@mayfly/protocol';
import type { VsockDevice, VsockStream } from '../devices/index.js';
import type { Egress, EgressOptions, EgressStats } from './egress.js';

/** The guest's connections that leave it, or are about to. */
export function streamsOut({ streams }: Pick<VsockDevice, 'streams'>): VsockStream[] {
  return streams.filter(({ hostPort }) => hostPort === abi.network.NET_PORT);
}

export class WayOut {
  readonly #options: EgressOptions;
  #egress: Egress | undefined;
  #over = false;

  /** Listens on NET_PORT. The rules must be known to be right (checkRules()). */
  constructor(vsock: VsockDevice, options: EgressOptions) {
    this.#options = options;
    // Those of a checkpoint lead nowhere any more: the guest reads a reset.
    for (const stream of streamsOut(vsock)) stream.destroy();
    vsock.listen(abi.network.NET_PORT, (stream) => {
      if (this.#egress !== undefined) this.#egress.accept(stream);
      else void this.#load(stream);
    });
  }

  /** Since the last end(); undefined when nothing was asked for. */
  get stats(): Readonly<EgressStats> | undefined {
    return this.#egress?.stats;
  }

  /** Ends all connections and starts to count anew. */
  end(): void {
    this.#egress?.end();
  }

  /** end(), for good. */
  close(): void {
    this.#over = true;
    this.end();
  }

  async #load(stream: VsockStream): Promise<void> {
    stream.pause();
    const { Egress } = await import('./egress.js');
    if (this.#over || stream.closed) return;
    this.#egress ??= new Egress(this.#options);
    this.#egress.accept(stream);
    stream.resume();
  }
}
