/** Arrays of struct kvm_msr_entry: {u32 index; u32 reserved; u64 data}. */

export type Msr = readonly [index: number, value: bigint];

const ENTRY_SIZE = 16;

export function encodeMsrs(msrs: readonly Msr[]): ArrayBuffer {
  const entries = new ArrayBuffer(msrs.length * ENTRY_SIZE);
  const view = new DataView(entries);
  msrs.forEach(([index, value], i) => {
    view.setUint32(i * ENTRY_SIZE, index, true);
    view.setBigUint64(i * ENTRY_SIZE + 8, value, true);
  });
  return entries;
}

export function decodeMsrs(entries: ArrayBuffer): Msr[] {
  const view = new DataView(entries);
  return Array.from({ length: entries.byteLength / ENTRY_SIZE }, (_, i) => [
    view.getUint32(i * ENTRY_SIZE, true),
    view.getBigUint64(i * ENTRY_SIZE + 8, true),
  ]);
}
