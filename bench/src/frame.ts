import { encodeFrame, FrameDecoder } from '@mayfly/protocol';
import { Bench } from 'tinybench';
import type { Benchmark, Measurement } from './benchmark.js';
import { scaled } from './scale.js';

const RUN_MS = 500;

/** A request as the API sends it: a browser's few headers and a body of 1 KiB. */
const head = {
  type: 'request',
  id: '0198f2c1-7d1e-7c63-a0a8-3f0a5f4f3d11',
  deadlineMs: 1767225600000,
  generation: '42',
  entropy: Buffer.alloc(32, 7).toString('base64'),
  now: 1767225599000,
  method: 'POST',
  url: 'http://localhost/fn/hello/world?name=value',
  headers: [
    ['host', 'localhost:8080'],
    ['accept', 'text/html,application/xhtml+xml'],
    ['content-type', 'application/octet-stream'],
    ['user-agent', 'Mozilla/5.0 (X11; Linux x86_64)'],
  ],
};
const body = new Uint8Array(1024).fill(42);

/** What the two ends of an invocation pay for one frame: encode it, decode it. */
export const frame: Benchmark = {
  name: 'frame',
  unit: 'us',
  about: 'encode and decode one request frame with 1 KiB of body',
  async run(): Promise<Measurement> {
    const decoder = new FrameDecoder();
    const bench = new Bench({ time: scaled(RUN_MS), retainSamples: true });
    bench.add('frame', () => {
      decoder.push(encodeFrame(head, body));
      if (decoder.next() === undefined) throw new Error('the frame did not come back');
    });
    const [task] = await bench.run();
    if (task?.result.state !== 'completed') throw new Error('the frame benchmark failed');
    return { samples: (task.result.latency.samples ?? []).map((ms) => ms * 1000) };
  },
};
