/** Number of libraries beyond which a cache is taken for damaged; a full desktop has about 3,000. */
const LIBRARIES_MAX = 100_000;
const MAGIC = 'glibc-ld.so.cache1.1';
const OLD_MAGIC = 'ld.so-1.7.0';
const HEADER_SIZE = 48;
const ENTRY_SIZE = 24;
/** FLAG_ELF_LIBC6 | FLAG_X8664_LIB64. */
const FLAGS_X86_64 = 0x0303;

/**
 * Reads /etc/ld.so.cache (glibc's dl-cache.h, the "new" format, also behind an old-format part): library name -> path for
 * x86-64. Variants for particular CPUs are left out, since the guest's loader always finds the plain one too. A cache that
 * makes no sense is an empty one, as it is for ld.so.
 */
export function parseLdCache(file: Buffer): Map<string, string> {
  const start = file.indexOf(MAGIC, 0, 'latin1');
  const old = file.toString('latin1', 0, OLD_MAGIC.length) === OLD_MAGIC;
  if (start === -1 || (start !== 0 && !old)) return new Map();
  const cache = file.subarray(start);
  return cache.length < HEADER_SIZE ? new Map() : readEntries(cache);
}

function readEntries(cache: Buffer): Map<string, string> {
  const libraries = new Map<string, string>();
  const count = cache.readUInt32LE(MAGIC.length);
  if (count > LIBRARIES_MAX || HEADER_SIZE + count * ENTRY_SIZE > cache.length) return libraries;
  for (let index = 0; index < count; index++) {
    const at = HEADER_SIZE + index * ENTRY_SIZE;
    const plain = cache.readInt32LE(at) === FLAGS_X86_64 && cache.readBigUInt64LE(at + 16) === 0n;
    const name = stringAt(cache, cache.readUInt32LE(at + 4));
    const path = stringAt(cache, cache.readUInt32LE(at + 8));
    if (plain && path.startsWith('/') && !libraries.has(name)) libraries.set(name, path);
  }
  return libraries;
}

function stringAt(cache: Buffer, at: number): string {
  const end = cache.indexOf(0, at);
  return end === -1 ? '' : cache.toString('utf8', at, end);
}
