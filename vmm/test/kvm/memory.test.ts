import { closeSync, fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import t from 'tap';
import { exits, GuestMemory, Kvm, threadFaults } from '../../src/kvm/index.js';
import { createScratchFile } from './scratch-file.js';
import { createGuest, NOWHERE, programs, skip } from './tiny-guest.js';

const BLOCK = 2 << 20;

function bytesOf(memory: GuestMemory): Uint8Array {
  return new Uint8Array(memory.buffer);
}

t.test('anonymous memory is zero, writable and 2 MiB aligned', async (t) => {
  for (const huge of [false, true]) {
    const memory = GuestMemory.anonymous(3 * BLOCK, { huge });
    t.equal(memory.size, 3 * BLOCK);
    t.equal(memory.buffer.byteLength, 3 * BLOCK);
    t.equal(memory.address % BigInt(BLOCK), 0n);
    t.equal(memory.buffer, memory.buffer, 'one buffer');
    t.equal(bytesOf(memory)[BLOCK + 5], 0);
    bytesOf(memory)[BLOCK + 5] = 1;
    t.equal(memory.fd, -1);
    memory.close();
  }
});

t.test('a page that is touched first is a fault of the thread, and no other', async (t) => {
  const memory = GuestMemory.memfd(4 * BLOCK); // in small pages, unlike anonymous memory where huge pages come unasked
  const touch = () => {
    const before = threadFaults();
    for (let at = 0; at < memory.size; at += 4096) bytesOf(memory)[at] = 1;
    return threadFaults() - before;
  };
  t.ok(touch() >= 2000, 'of 2048 pages');
  t.ok(touch() < 1000, 'a second time');
  memory.close();
});

t.test('more memory can be reserved than the host has', async (t) => {
  const memory = GuestMemory.anonymous(2 ** 42);
  t.equal(memory.size, 2 ** 42);
  memory.close();
});

t.test('a memfd shares its bytes, a private mapping of it does not', async (t) => {
  const shared = GuestMemory.memfd(2 * BLOCK);
  bytesOf(shared)[7] = 1;
  const copy = GuestMemory.privateFile(shared.fd, 2 * BLOCK);
  t.equal(copy.address % BigInt(BLOCK), 0n);
  t.equal(bytesOf(copy)[7], 1);
  bytesOf(copy)[7] = 2;
  t.equal(bytesOf(shared)[7], 1);
  shared.close();
  t.equal(bytesOf(copy)[7], 2, 'outlives the file descriptor');
  copy.close();
});

t.test('address and file offset are congruent modulo 2 MiB', async (t) => {
  const file = createScratchFile();
  ftruncateSync(file.fd, 3 * BLOCK);
  writeSync(file.fd, Buffer.from('here'), 0, 4, BLOCK + 8192);
  const memory = GuestMemory.readonlyFile(file.fd, BLOCK, { offset: BLOCK + 8192 });
  t.equal(memory.address % BigInt(BLOCK), 8192n);
  t.equal(Buffer.from(memory.buffer, 0, 4).toString(), 'here');
  t.equal(memory.readonly, true);
  memory.close();
  file.close();
});

t.test('writeTo stores blocks whole and leaves holes for zeros', async (t) => {
  const memory = GuestMemory.anonymous(8 * BLOCK);
  bytesOf(memory).fill(0xaa, 2 * BLOCK, 2 * BLOCK + 10);
  bytesOf(memory)[6 * BLOCK - 1] = 0xbb;
  bytesOf(memory)[7 * BLOCK] = 0;
  const file = createScratchFile();
  writeSync(file.fd, Buffer.alloc(BLOCK, 1), 0, BLOCK, 0);
  memory.writeTo(file.fd, 8 * BLOCK);
  const { size, blocks } = fstatSync(file.fd);
  t.equal(size, 8 * BLOCK);
  t.equal(blocks * 512, 2 * BLOCK, 'two blocks are stored, and nothing of what was there');
  const copy = GuestMemory.readonlyFile(file.fd, 8 * BLOCK);
  t.equal(Buffer.compare(Buffer.from(copy.buffer), Buffer.from(memory.buffer)), 0);
  copy.close();
  memory.close();
  file.close();
});

t.test('runs are what is not zero, or what differs from a base', async (t) => {
  const memory = GuestMemory.anonymous(8 * BLOCK);
  const base = GuestMemory.anonymous(8 * BLOCK);
  t.teardown(() => {
    memory.close();
    base.close();
  });
  t.same([...memory.runs()], [], 'nothing was written');
  bytesOf(memory).fill(1, 4096, 3 * 4096);
  bytesOf(memory)[BLOCK - 1] = 1;
  bytesOf(memory)[BLOCK] = 1;
  bytesOf(memory)[8 * BLOCK - 1] = 1;
  bytesOf(memory)[5 * BLOCK] = 0;
  t.same([...memory.runs()], [1, 2, 511, 2, 4095, 1]);
  bytesOf(base).set(bytesOf(memory));
  t.same([...memory.runs(base)], []);
  bytesOf(base)[0] = 1;
  bytesOf(memory)[4096] = 2;
  t.same([...memory.runs(base)], [0, 2]);
  const small = GuestMemory.anonymous(BLOCK);
  t.throws(() => memory.runs(small), { code: 'MAYFLY_KVM_ARGUMENT' });
  small.close();
});

t.test('writeTo stores a part, down to the byte', async (t) => {
  const memory = GuestMemory.memfd(2 * BLOCK);
  bytesOf(memory).fill(7);
  const file = createScratchFile();
  memory.writeTo(file.fd, BLOCK + 3);
  t.equal(fstatSync(file.fd).size, BLOCK + 3);
  const tail = Buffer.alloc(8);
  t.equal(readSync(file.fd, tail, 0, 8, BLOCK), 3);
  t.same([...tail], [7, 7, 7, 0, 0, 0, 0, 0]);
  memory.close();
  file.close();
});

t.test('close detaches the buffer', async (t) => {
  const memory = GuestMemory.anonymous(BLOCK);
  const { buffer } = memory;
  const bytes = new Uint8Array(buffer);
  memory.close();
  t.equal(buffer.byteLength, 0);
  t.equal(bytes.length, 0);
  t.equal(bytes[0], undefined);
});

t.test('a buffer outlives memory that was only forgotten', async (t) => {
  let memory: GuestMemory | undefined = GuestMemory.anonymous(BLOCK);
  const bytes = bytesOf(memory);
  memory = undefined;
  (globalThis as { gc?: () => void }).gc?.();
  bytes[0] = 9;
  t.equal(bytes[0], 9);
});

t.test('a buffer stays in its thread', async (t) => {
  const memory = GuestMemory.anonymous(BLOCK);
  const { port1, port2 } = new MessageChannel();
  try {
    port1.postMessage(0, [memory.buffer]);
  } catch {
    // as later versions of Node.js have it
  }
  t.equal(memory.buffer.byteLength, BLOCK);
  port1.close();
  port2.close();
  memory.close();
});

t.test('guest memory does not count as memory that a collection would free', async (t) => {
  const before = process.memoryUsage().external;
  const memory = GuestMemory.anonymous(256 * 2 ** 20);
  t.equal(memory.buffer.byteLength, 256 * 2 ** 20);
  t.ok(process.memoryUsage().external - before < 2 ** 20);
  memory.close();
});

t.test('wrong sizes, offsets and files are refused', async (t) => {
  const file = createScratchFile();
  ftruncateSync(file.fd, BLOCK);
  const wrong = { code: 'MAYFLY_KVM_ARGUMENT' };
  for (const size of [0, -4096, 1, 4097, 2 ** 60, Number.NaN, Infinity]) {
    t.throws(() => GuestMemory.anonymous(size), wrong, `size ${size}`);
  }
  t.throws(() => GuestMemory.anonymous('4096' as unknown as number), wrong);
  t.throws(() => GuestMemory.privateFile(file.fd, BLOCK, { offset: 5 }), wrong);
  t.throws(() => GuestMemory.privateFile(-1, BLOCK), wrong);
  const pastTheEnd = { code: 'MAYFLY_KVM_IOCTL', errno: 'ENXIO', syscall: /past the end/ };
  t.throws(() => GuestMemory.readonlyFile(file.fd, BLOCK + 4096), pastTheEnd);
  t.throws(() => GuestMemory.privateFile(file.fd, BLOCK, { offset: 4096 }), pastTheEnd);
  closeSync(file.fd);
  t.throws(() => GuestMemory.privateFile(file.fd, BLOCK), {
    code: 'MAYFLY_KVM_IOCTL',
    errno: 'EBADF',
    syscall: 'fstat',
  });
  const memory = GuestMemory.anonymous(BLOCK);
  t.throws(() => memory.writeTo(file.fd, BLOCK), {
    code: 'MAYFLY_KVM_IOCTL',
    errno: 'EBADF',
    syscall: 'ftruncate',
  });
  t.throws(() => memory.writeTo(0, BLOCK + 1), wrong);
  memory.close();
});

t.test('slots are checked', { skip }, async (t) => {
  const guest = createGuest(programs.spin);
  const memory = GuestMemory.anonymous(BLOCK);
  t.teardown(() => [guest, memory].map((closeable) => closeable.close()));
  const wrong = { code: 'MAYFLY_KVM_ARGUMENT' };
  t.throws(() => guest.vm.setMemory(0, 1 << 30, memory), wrong, 'slot taken');
  t.throws(() => guest.vm.setMemory(128, 1 << 30, memory), wrong, 'slot out of range');
  t.throws(() => guest.vm.setMemory(1, 5, memory), wrong, 'gpa not at a page');
  t.throws(() => guest.vm.setMemory(1, 2 ** 52, memory), wrong, 'gpa out of range');
  t.throws(() => guest.vm.setMemory(1, 1 << 30, memory, { offset: BLOCK }), wrong, 'empty');
  t.throws(() => guest.vm.setMemory(1, 1 << 30, memory, { offset: 4096, size: BLOCK }), wrong);
  t.throws(() => guest.vm.setMemory(1, 0, memory), {
    code: 'MAYFLY_KVM_IOCTL',
    syscall: 'KVM_SET_USER_MEMORY_REGION',
    errno: 'EEXIST',
  });
});

t.test('a guest reads a read-only file; its writes exit as MMIO', { skip }, async (t) => {
  const file = createScratchFile();
  ftruncateSync(file.fd, BLOCK);
  writeSync(file.fd, Buffer.from('mayfly!!'), 0, 8, 64);
  const image = GuestMemory.readonlyFile(file.fd, BLOCK);
  const reader = createGuest(programs.load(NOWHERE + 64));
  const writer = createGuest(programs.store(NOWHERE + 64, 0x21));
  t.teardown(() => [reader, writer, file].map((closeable) => closeable.close()));
  for (const { vm } of [reader, writer]) vm.setMemory(1, NOWHERE, image);
  t.throws(() => reader.vm.setMemory(2, 1 << 30, image, { readonly: false }), {
    code: 'MAYFLY_KVM_ARGUMENT',
  });
  image.close();
  t.equal(reader.vcpu.run(), exits.IO, 'the VM keeps its memory');
  t.equal(reader.vcpu.syncRegs.rax, Buffer.from('mayfly!!').readBigUInt64LE());
  t.equal(writer.vcpu.run(), exits.MMIO);
  t.equal(writer.vcpu.mmioPhysAddr, NOWHERE + 64);
  t.equal(writer.vcpu.mmioIsWrite, true);
  t.same([...writer.vcpu.mmioData], [0x21]);
  t.equal(writer.vcpu.run(), exits.IO);
  const after = Buffer.alloc(8);
  readSync(file.fd, after, 0, 8, 64);
  t.equal(after.toString(), 'mayfly!!');
});

t.test('a private mapping knows what was written, and its pages can be made ahead', async (t) => {
  const file = GuestMemory.memfd(2 * BLOCK);
  bytesOf(file)[3 * 4096] = 9;
  const memory = GuestMemory.privateFile(file.fd, 2 * BLOCK);
  t.teardown(() => [file, memory].map((m) => m.close()));
  t.same([...memory.written()], []);
  bytesOf(memory)[8 * 4096] = 1;
  memory.populate(Uint32Array.of(2, 3, 100, 1));
  t.same([...memory.written()], [2, 3, 8, 1, 100, 1]);
  t.equal(bytesOf(memory)[3 * 4096], 9, 'with the bytes of the file');
  const size = (2 * BLOCK) / 4096;
  for (const runs of [
    [size, 1],
    [0, size + 1],
    [0xffffffff, 2],
  ]) {
    t.throws(() => memory.populate(Uint32Array.from(runs)), { code: 'MAYFLY_KVM_ARGUMENT' });
  }
  t.throws(() => file.written(), { code: 'MAYFLY_KVM_ARGUMENT' });
});

t.test('another file takes the place of the first, in the same buffer', async (t) => {
  const files = [1, 2].map((mark) => {
    const file = GuestMemory.memfd(2 * BLOCK);
    bytesOf(file).fill(mark);
    return file;
  });
  const memory = GuestMemory.privateFile(files[0]!.fd, 2 * BLOCK);
  t.teardown(() => [...files, memory].map((m) => m.close()));
  const { buffer, address } = memory;
  const bytes = new Uint8Array(buffer);
  bytes[5] = 7;
  memory.empty();
  t.equal(bytes[5], 0);
  bytes[6] = 8;
  memory.replaceFile(files[1]!.fd);
  t.same(
    [bytes[5], bytes[6], memory.buffer === buffer, memory.address === address],
    [2, 2, true, true],
  );
  t.same([...memory.written()], [], 'nothing that was written before is there');
  const small = GuestMemory.memfd(BLOCK);
  t.teardown(() => small.close());
  t.throws(() => memory.replaceFile(small.fd), { code: 'MAYFLY_KVM_IOCTL' });
  t.throws(() => files[0]!.replaceFile(files[1]!.fd), { code: 'MAYFLY_KVM_ARGUMENT' });
});

t.test('memory that a VM uses is not replaced', { skip }, async (t) => {
  const file = GuestMemory.memfd(BLOCK);
  const memory = GuestMemory.privateFile(file.fd, BLOCK);
  const kvm = Kvm.open();
  const vm = kvm.createVm();
  vm.setMemory(0, 0, memory);
  t.throws(() => memory.replaceFile(file.fd), { code: 'MAYFLY_KVM_IOCTL', message: /EBUSY/ });
  vm.close();
  memory.replaceFile(file.fd);
  for (const closeable of [memory, kvm, file]) closeable.close();
});
