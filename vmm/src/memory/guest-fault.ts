import { MayflyError } from '@mayfly/protocol';

/**
 * The guest did something that no correct guest does (a bad address, a malformed ring, a broken packet).
 *
 * It ends the machine, never the host: whoever runs the machine catches it where the guest's exit is served.
 * Codes: MAYFLY_GUEST_* for memory, MAYFLY_VIRTIO_* for transport and rings, MAYFLY_CONSOLE_*, MAYFLY_VSOCK_* for devices.
 */
export class GuestFault extends MayflyError {
  constructor(code: string, message: string) {
    super(code, message);
    this.name = 'GuestFault';
  }
}
