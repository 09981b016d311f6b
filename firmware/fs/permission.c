/* fs/permission.c: who may do what with a file, by its mode bits (inode(7), capabilities(7)). */
#include "inode.h"

i64 inode_denied(const struct inode *inode, u32 wanted) {
  bool executes = wanted & MAY_EXECUTE, writes = wanted & MAY_WRITE;
  if (capable(CAP_DAC_OVERRIDE)) return executes && !is_dir(inode) && !(inode->mode & 0111) ? -EACCES : 0;
  u32 allowed = user_ids.files == inode->uid ? inode->mode >> 6 : in_group(inode->gid) ? inode->mode >> 3 : inode->mode;
  if ((wanted & ~allowed) == 0) return 0;
  return capable(CAP_DAC_READ_SEARCH) && !writes && (is_dir(inode) || !executes) ? 0 : -EACCES;
}

bool inode_owned(const struct inode *inode) { return user_ids.files == inode->uid || capable(CAP_FOWNER); }

i64 inode_removable(const struct inode *dir, const struct inode *inode) {
  i64 error = inode_permission(dir, MAY_WRITE | MAY_EXECUTE);
  if (error != 0 || !(dir->mode & S_ISVTX)) return error;
  return user_ids.files == dir->uid || inode_owned(inode) ? 0 : -EPERM;
}

/* What is frozen has no names to add to, whoever asks: directory_add says so. */
i64 inode_extendable(const struct inode *dir) {
  return dir->ops->frozen ? 0 : inode_permission(dir, MAY_WRITE | MAY_EXECUTE);
}

/* In a directory with the set-group-id bit what is new belongs to the directory's group. */
struct inode *inode_new_in(const struct inode *dir, u32 mode, const struct inode_ops *ops) {
  struct inode *inode = inode_new(dir->dev, mode, ops);
  if (inode == NULL || !(dir->mode & S_ISGID)) return inode;
  inode->gid = dir->gid;
  if (is_dir(inode)) inode->mode |= S_ISGID;
  else if ((mode & (S_ISGID | 0010)) == (S_ISGID | 0010) && !in_group(dir->gid) && !capable(CAP_FSETID))
    inode->mode &= ~(u32)S_ISGID;
  return inode;
}
