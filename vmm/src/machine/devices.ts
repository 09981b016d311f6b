/** The devices that every machine has, in the order in which the guest finds them. */
import {
  ConsoleDevice,
  type ConsoleOptions,
  EntropyDevice,
  VsockDevice,
} from '../devices/index.js';
import type { GuestRam } from '../memory/index.js';

export interface Devices {
  console: ConsoleDevice;
  entropy: EntropyDevice;
  vsock: VsockDevice;
}

/** The guest's address on the vsock; the host is 2. */
export const GUEST_CID = 3;
export const DEVICE_COUNT = 3;

export function createDevices(ram: GuestRam, console: ConsoleOptions): Devices {
  return {
    console: new ConsoleDevice(ram, console),
    entropy: new EntropyDevice(ram),
    vsock: new VsockDevice(ram, { guestCid: GUEST_CID }),
  };
}

export function devicesOf(d: Devices): [ConsoleDevice, EntropyDevice, VsockDevice] {
  return [d.console, d.entropy, d.vsock];
}

/** Looks at every queue; whether the guest was given something. */
export function serveQueues(d: Devices): boolean {
  const console = d.console.processQueues();
  const entropy = d.entropy.processQueues();
  const vsock = d.vsock.processQueues();
  return console || entropy || vsock;
}
