/** --allow-net: for every command that runs a machine to its end. */
import type { Manifest } from '@mayfly/vmm/checkpoint';
import type { EgressOptions } from '@mayfly/vmm/network';
import { type Command, Option } from 'commander';
import type { Io } from './output.js';
import { repeated } from './units.js';

export interface NetworkFlags {
  allowNet: string[];
}

export interface CheckpointNetworkFlags {
  /** false: --no-allow-net. */
  allowNet: string[] | false;
}

export function addNetworkOption(command: Command): Command {
  const about = 'let it connect to this host, network or port (repeatable)';
  const option = new Option('--allow-net <rule>', about).argParser(repeated);
  return command.addOption(option.default([], 'none'));
}

/** For what goes on from a checkpoint, whose rules hold unless others are given. */
export function addCheckpointNetworkOption(command: Command): Command {
  return addNetworkOption(command).option(
    '--no-allow-net',
    'let it connect to nothing, whatever the checkpoint allows',
  );
}

/**
 * What goes on from a checkpoint may connect to what that one may, or to less; to what was asked for where the checkpoint
 * says nothing. MayflyError MAYFLY_NETWORK_RULE, MAYFLY_NETWORK_WIDER.
 */
export async function checkpointNetwork<F extends CheckpointNetworkFlags>(
  flags: F,
  { name, network }: Manifest,
): Promise<F> {
  const { allowNet } = flags;
  if (allowNet === false || network === undefined) return flags;
  if (allowNet.length === 0) return { ...flags, allowNet: network };
  (await import('@mayfly/vmm/network')).narrowed(network, allowNet, `checkpoint ${name}`);
  return flags;
}

/** MayflyError MAYFLY_NETWORK_RULE. */
export async function networkOptions(
  { allowNet }: CheckpointNetworkFlags,
  io: Io,
): Promise<EgressOptions> {
  const { denialText } = await import('@mayfly/vmm/denial'); // without the network, which few need
  const allow = allowNet || [];
  if (allow.length > 0) (await import('@mayfly/vmm/network')).checkRules(allow);
  return {
    allow,
    denied: (denial) => io.stderr(`mayfly: ${denialText(denial, '--allow-net')}\n`),
  };
}
