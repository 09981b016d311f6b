/** --publish: ports of this host that lead to the guest's, for every command that runs a program to its end. */
import { isIP } from 'node:net';
import type { PublishedPort, WayIn } from '@mayfly/vmm/network';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Io } from './output.js';

export interface PublishFlags {
  publish: PublishedPort[];
}

const ADDRESS_DEFAULT = '127.0.0.1';
const FORM =
  'It is [ADDRESS:]HOSTPORT:GUESTPORT, for example 8080:80 or [::1]:8080:80; HOSTPORT 0 is any free port.';

export function addPublishOption(command: Command): Command {
  const about = "let TCP clients of this host's port reach the guest's (repeatable)";
  const option = new Option('-p, --publish <[address:]hostport:guestport>', about);
  return command.addOption(option.argParser(parsePublish).default([], 'none'));
}

function parsePublish(text: string, before: PublishedPort[]): PublishedPort[] {
  const form = /^(?:(?:\[([\da-f:.]+)\]|([\d.]+)):)?(\d{1,5}):(\d{1,5})$/i.exec(text);
  if (form === null) throw new InvalidArgumentError(FORM);
  const address = form[1] ?? form[2] ?? ADDRESS_DEFAULT;
  const [port, guestPort] = [Number(form[3]), Number(form[4])];
  if (isIP(address) !== (form[1] === undefined ? 4 : 6)) {
    throw new InvalidArgumentError(`${address} is no address. ${FORM}`);
  }
  if (port > 65_535 || guestPort > 65_535 || guestPort === 0) {
    throw new InvalidArgumentError('A port is a number from 1 to 65535; HOSTPORT may be 0.');
  }
  if (port > 0 && before.some((other) => other.address === address && other.port === port)) {
    throw new InvalidArgumentError(`Port ${port} of ${address} is published already.`);
  }
  return [...before, { address, port, guestPort }];
}

/**
 * Listens before anything else is done. `mark` tells clones apart. undefined when nothing is published. Throws MAYFLY_LISTEN.
 */
export async function openWayIn(
  { publish }: PublishFlags,
  io: Io,
  mark = '',
): Promise<WayIn | undefined> {
  if (publish.length === 0) return undefined;
  const { WayIn, withPort } = await import('@mayfly/vmm/network');
  const wayIn = await WayIn.listen(publish, {
    waits: ({ address, port, guestPort }) => {
      const text = `a client of ${withPort(address, port)} waits: nothing listens on port ${guestPort} of the guest yet`;
      io.stderr(`mayfly: ${mark}${text}\n`);
    },
  });
  for (const [i, { address, port, guestPort }] of wayIn.ports.entries()) {
    if (publish[i]?.port !== 0) continue;
    io.stderr(`mayfly: ${mark}${withPort(address, port)} is port ${guestPort} of the guest\n`);
  }
  return wayIn;
}
