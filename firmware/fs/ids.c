/* fs/ids.c: files that name the machine and this life of it. A clone is a machine of its own: what its template was
 * called is forgotten when the VMM gives it another generation. */
#include "arch.h"
#include "inode.h"

enum { ID_SIZE = 16 };

/* A number that stays the same until the next generation. */
struct id {
  u64 generation;
  bool drawn;
  u8 bytes[ID_SIZE];
};

static const u8 *id_now(struct id *id) {
  if (!id->drawn || id->generation != SHARED->generation) random_fill(id->bytes, ID_SIZE);
  id->generation = SHARED->generation;
  id->drawn = true;
  return id->bytes;
}

/* Version 4, variant 1: RFC 9562, 5.4. */
static u8 uuid_byte(const u8 *b, u32 i) {
  if (i == 6) return (b[i] & 0x0f) | 0x40;
  if (i == 8) return (b[i] & 0x3f) | 0x80;
  return b[i];
}

static void print_uuid(struct text *out, const u8 *b, const char *dash) {
  for (u32 i = 0; i < ID_SIZE; i++)
    text_print(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? dash : "", uuid_byte(b, i));
  text_print(out, "\n");
}

static void generate_random_uuid(struct inode *inode, struct text *out) {
  u8 bytes[ID_SIZE];
  random_fill(bytes, sizeof(bytes));
  print_uuid(out, bytes, "-");
}

static void generate_boot_id(struct inode *inode, struct text *out) {
  static struct id id;
  print_uuid(out, id_now(&id), "-");
}

/* machine-id(5): 32 hex digits, a version 4 UUID without dashes. */
static void generate_machine_id(struct inode *inode, struct text *out) {
  static struct id id;
  print_uuid(out, id_now(&id), "");
}

#define GENERATED(name) const struct inode_ops name##_ops = {.file = &text_file_ops, .generate = generate_##name}
GENERATED(random_uuid);
GENERATED(boot_id);
GENERATED(machine_id);
