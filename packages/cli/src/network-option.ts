/** --allow-net: for every command that runs a machine to its end. */
import type { EgressOptions } from '@mayfly/vmm/network';
import type { Command } from 'commander';
import type { Io } from './output.js';
import { repeated } from './units.js';

export interface NetworkFlags {
  allowNet: string[];
}

export function addNetworkOption(command: Command): Command {
  return command.option(
    '--allow-net <rule>',
    'let it connect to this host, network or port (repeatable)',
    repeated,
    [],
  );
}

/** MayflyError MAYFLY_NETWORK_RULE. */
export async function networkOptions({ allowNet }: NetworkFlags, io: Io): Promise<EgressOptions> {
  const { denialText } = await import('@mayfly/vmm/run');
  if (allowNet.length > 0) (await import('@mayfly/vmm/network')).checkRules(allowNet);
  return {
    allow: allowNet,
    denied: (denial) => io.stderr(`mayfly: ${denialText(denial, '--allow-net')}\n`),
  };
}
