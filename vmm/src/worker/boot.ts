/** Boots a program until it waits for its first frame, and makes a template of it. */
import { type Frame, FrameDecoder, MayflyError } from '@mayfly/protocol';
import { crashLine } from '../debug/crash-report.js';
import { bootMachine } from '../machine/factory.js';
import type { Machine } from '../machine/machine.js';
import { betweenTurns, exitCodeOf, failureError } from '../machine/run-program.js';
import { denialText } from '../network/denial.js';
import { WayOut } from '../network/way-out.js';
import type { BootResult, BootTask } from './messages.js';
import { OutputTail } from './output-tail.js';
import { captureTemplate } from './template.js';

/** The port on the host that an agent connects to. */
export const AGENT_PORT = 1024;

/** Throws MAYFLY_BOOT_FAILED or MAYFLY_BOOT_TIMEOUT with what the guest printed. */
export async function boot(task: BootTask): Promise<BootResult> {
  const started = performance.now();
  const output = new OutputTail();
  const machine = bootMachine({
    ...task,
    console: { stdout: output.add, stderr: output.add },
    verbose: true, // goes to the output's tail, which is shown when something fails
  });
  const { id, name, images, network, directory } = task;
  const wayOut = new WayOut(machine.devices.vsock, {
    allow: network,
    denied: (denial) => output.add(Buffer.from(`${denialText(denial, 'network.allow')}\n`)),
  });
  try {
    const first = await firstFrame(machine, started + task.timeoutMs, output);
    wayOut.close(); // clones read a reset: connections belong to one machine
    const template = first.waiting
      ? captureTemplate(machine, { id, name, images, network, directory })
      : undefined;
    const bootMicros = (performance.now() - started) * 1000;
    return { head: first.frame.head, template, bootMicros, output: output.text };
  } finally {
    wayOut.close();
    machine.close();
  }
}

async function firstFrame(
  machine: Machine,
  deadlineMs: number,
  output: OutputTail,
): Promise<{ frame: Frame; waiting: boolean }> {
  const decoder = new FrameDecoder();
  machine.devices.console.endInput();
  machine.devices.vsock.listen(AGENT_PORT, (stream) => {
    stream.onData = (chunk) => decoder.push(chunk);
  });
  let frame: Frame | undefined;
  for (;;) {
    const stop = machine.enter();
    frame ??= decoder.next();
    if (stop.kind === 'failed') throw bootError(failureError(stop), output);
    if (stop.kind === 'exited') {
      if (frame !== undefined) return { frame, waiting: false };
      if (stop.described) output.add(Buffer.from(`${crashLine(machine, stop.status)}\n`));
      const code = exitCodeOf(stop.status);
      throw bootError(new MayflyError('', `the program ended with exit code ${code}`), output);
    }
    if (stop.kind === 'idle' && frame !== undefined) return { frame, waiting: true };
    if (performance.now() >= deadlineMs) {
      throw new MayflyError('MAYFLY_BOOT_TIMEOUT', `not ready in time\n${output.text}`);
    }
    await betweenTurns(machine, stop, deadlineMs);
  }
}

function bootError(cause: MayflyError, output: OutputTail): MayflyError {
  const detail = [output.text, cause.cause].filter((t) => typeof t === 'string' && t !== '');
  return new MayflyError('MAYFLY_BOOT_FAILED', cause.message, { cause: detail.join('\n') });
}
