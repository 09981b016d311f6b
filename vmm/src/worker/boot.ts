/** Boots a program until it waits for its first request, and makes a template of it. */
import { MayflyError } from '@mayfly/protocol';
import { crashLine } from '../debug/crash-report.js';
import { greet } from '../dialects/dialect.js';
import { bootMachine } from '../machine/factory.js';
import type { Machine } from '../machine/machine.js';
import { betweenTurns, exitCodeOf, failureError } from '../machine/run-to-end.js';
import { denialText } from '../network/denial.js';
import { WayOut } from '../network/way-out.js';
import type { BootResult, BootTask } from './messages.js';
import { OutputLines, type OutputStream } from './output-lines.js';
import { OutputTail } from './output-tail.js';
import { takeFaults } from './page-faults.js';
import { captureTemplate } from './template.js';

/** Of what is printed while a function loads: it goes into the template's first head. */
const LIMITS = { lines: 256, chars: 32 * 1024 };

/** Throws MAYFLY_BOOT_FAILED or MAYFLY_BOOT_TIMEOUT with what the guest printed. */
export async function boot(task: BootTask): Promise<BootResult> {
  const started = performance.now();
  const output = new OutputTail();
  const lines = new OutputLines(LIMITS);
  const keep = (stream: OutputStream) => (chunk: Uint8Array) => {
    output.add(chunk);
    lines.add(stream, chunk);
  };
  const machine = bootMachine({
    ...task,
    console: { stdout: keep('stdout'), stderr: keep('stderr') },
    verbose: true, // goes to the output's tail, which is shown when something fails
  });
  const { id, name, images, network, directory, dialect } = task;
  const wayOut = new WayOut(machine.devices.vsock, {
    allow: network,
    hostname: () => machine.shared.hostname,
    denied: (denial) => output.add(Buffer.from(`${denialText(denial, 'network.allow')}\n`)),
  });
  try {
    const first = await firstHead(machine, task, started + task.timeoutMs, output, lines);
    wayOut.close(); // clones read a reset: connections belong to one machine
    const template = first.waiting
      ? captureTemplate(machine, { id, name, images, network, directory, dialect })
      : undefined;
    const bootMicros = (performance.now() - started) * 1000;
    return { head: first.head, template, bootMicros, output: output.text };
  } finally {
    wayOut.close();
    machine.close();
  }
}

async function firstHead(
  machine: Machine,
  { dialect }: BootTask,
  deadlineMs: number,
  output: OutputTail,
  lines: OutputLines,
): Promise<{ head: Record<string, unknown>; waiting: boolean }> {
  const greeting = greet(dialect, machine, () => lines.takeLast());
  for (;;) {
    const stop = machine.enter();
    takeFaults(); // those of others are not among them
    if (stop.kind === 'failed') throw bootError(failureError(stop), output);
    if (stop.kind === 'exited' && stop.described) {
      output.add(Buffer.from(`${crashLine(machine, stop.status)}\n`));
    }
    const found = looked(() => greeting.look(stop), output);
    if (typeof found === 'object' && (stop.kind === 'idle' || stop.kind === 'exited')) {
      return { head: found, waiting: stop.kind === 'idle' };
    }
    if (stop.kind === 'exited') {
      const code = exitCodeOf(stop.status);
      throw bootError(new MayflyError('', `the program ended with exit code ${code}`), output);
    }
    if (performance.now() >= deadlineMs) {
      const { missing } = greeting;
      const late = missing === undefined ? 'not ready in time' : `not ready in time: ${missing}`;
      throw new MayflyError('MAYFLY_BOOT_TIMEOUT', `${late}\n${output.text}`);
    }
    if (found !== 'enter') await betweenTurns(machine, stop, deadlineMs);
  }
}

function looked<T>(look: () => T, output: OutputTail): T {
  try {
    return look();
  } catch (error) {
    throw bootError(error as MayflyError, output);
  }
}

/** The message ends with what the program printed: whoever deploys reads no more than that. */
function bootError(cause: MayflyError, output: OutputTail): MayflyError {
  const message = [cause.message, output.text.trimEnd()].filter((text) => text !== '').join('\n');
  return new MayflyError('MAYFLY_BOOT_FAILED', message, { cause: cause.cause });
}
