/** HTTP as bytes. */
import { connect } from 'node:net';

/** Everything that comes back for these bytes, until the server ends the connection or `ms` have passed. */
export function raw(port: number, bytes: string | Uint8Array, ms = 2000): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    const done = () => {
      socket.destroy();
      clearTimeout(timer);
      resolve(text);
    };
    const timer = setTimeout(done, ms);
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', done).on('close', done);
    socket.write(bytes);
  });
}
