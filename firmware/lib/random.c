/* The kernel's random numbers: ChaCha20 (RFC 8439) as a generator, keyed from the shared page's entropy.
 * The key is replaced after each fill, so that earlier output cannot be computed from memory, and at each new
 * generation, so that two clones of one template have nothing in common. */
#include "arch.h"
#include "lib.h"
#include "virtio.h"

static struct {
  u32 key[8];
  u64 counter;
  u64 generation;
  bool keyed;
} rng;

static inline u32 rotate(u32 x, int n) { return x << n | x >> (32 - n); }

static void quarter(u32 *s, int a, int b, int c, int d) {
  s[a] += s[b];
  s[d] = rotate(s[d] ^ s[a], 16);
  s[c] += s[d];
  s[b] = rotate(s[b] ^ s[c], 12);
  s[a] += s[b];
  s[d] = rotate(s[d] ^ s[a], 8);
  s[c] += s[d];
  s[b] = rotate(s[b] ^ s[c], 7);
}

static void chacha_block(u32 out[16]) {
  u32 s[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  memcpy(s + 4, rng.key, sizeof rng.key);
  s[12] = (u32)rng.counter;
  s[13] = (u32)(rng.counter >> 32);
  rng.counter++;
  memcpy(out, s, sizeof s);
  for (int round = 0; round < 10; round++) {
    for (int i = 0; i < 4; i++) quarter(out, i, 4 + i, 8 + i, 12 + i);
    for (int i = 0; i < 4; i++) quarter(out, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
  }
  for (int i = 0; i < 16; i++) out[i] += s[i];
}

/* A host that leaves the shared page empty has an entropy device. */
static void take_entropy(u8 seed[64]) {
  u8 any = 0;
  for (int i = 0; i < 64; i++) any |= seed[i] = SHARED->entropy[i];
  if (any == 0 && entropy_read(seed, 64) < 64) panic("the host gives no entropy");
}

static void rekey(void) {
  u32 fresh[16];
  take_entropy((u8 *)fresh);
  for (int i = 0; i < 8; i++) rng.key[i] = fresh[i] ^ fresh[8 + i] ^ (rng.keyed ? rng.key[i] : 0);
  rng.counter = 0;
  rng.generation = SHARED->generation;
  rng.keyed = true;
}

void random_fill(void *to, size_t n) {
  if (!rng.keyed || rng.generation != SHARED->generation) rekey();
  u8 *at = to;
  u32 block[16];
  while (n > 0) {
    chacha_block(block);
    size_t part = MIN(n, sizeof block);
    memcpy(at, block, part);
    at += part;
    n -= part;
  }
  chacha_block(block);
  memcpy(rng.key, block, sizeof rng.key);
  memset(block, 0, sizeof block);
}

u64 random_u64(void) {
  u64 value;
  random_fill(&value, sizeof value);
  return value;
}
