/* syscall/names.c: making, linking, removing and renaming. */
#include "path.h"
#include "syscall.h"

/* ---- Making ---------------------------------------------------------------------------------- */

/* The place for a new name. A slash at the end is only for directories. */
static i64 find_free_place(u64 dirfd, u64 path, bool directory, struct place *p) {
  const char *name;
  i64 error = path_arg(path, &name);
  *p = (struct place){0};
  if (error == 0) error = path_walk((int)dirfd, name, WALK_PARENT, p);
  if (error != 0) {
    *p = (struct place){0};
    return error;
  }
  if (p->entry != NULL) return -EEXIST;
  if (p->slash && !directory) return -ENOENT;
  return inode_extendable(p->dir->inode);
}

/* Gives the place a new inode; takes over its reference. NULL: there was no memory for it. */
static i64 add_at(const struct place *p, struct inode *inode) {
  i64 error = inode == NULL ? -ENOSPC : directory_add(p->dir, p->name, p->name_size, inode);
  inode_put(inode);
  return error;
}

static i64 do_mkdir(u64 dirfd, u64 path, u64 mode) {
  struct place p;
  i64 error = find_free_place(dirfd, path, true, &p);
  if (error == 0)
    error = add_at(&p, inode_new_in(p.dir->inode, S_IFDIR | ((u32)mode & 01777 & ~fs_umask), &directory_ops));
  place_put(&p);
  return error;
}

i64 sys_mkdir(const u64 *a) { return do_mkdir((u64)AT_FDCWD, a[0], a[1]); }

i64 sys_mkdirat(const u64 *a) { return do_mkdir(a[0], a[1], a[2]); }

static i64 do_symlink(u64 text, u64 dirfd, u64 path) {
  const char *target;
  struct place p = {0};
  i64 error = path_arg(text, &target);
  if (error == 0 && target[0] == '\0') error = -ENOENT;
  if (error == 0) error = find_free_place(dirfd, path, false, &p);
  if (error == 0) {
    struct inode *inode = inode_link(p.dir->inode->dev, target, strlen(target));
    if (inode != NULL && (p.dir->inode->mode & S_ISGID)) inode->gid = p.dir->inode->gid;
    error = add_at(&p, inode);
  }
  place_put(&p);
  return error;
}

i64 sys_symlink(const u64 *a) { return do_symlink(a[0], (u64)AT_FDCWD, a[1]); }

i64 sys_symlinkat(const u64 *a) { return do_symlink(a[0], a[1], a[2]); }

static i64 do_mknod(u64 dirfd, u64 path, u64 mode) {
  struct place p;
  u32 type = (u32)mode & S_IFMT;
  if (type == 0) type = S_IFREG;
  if (type == S_IFCHR || type == S_IFBLK || type == S_IFIFO) return -EPERM;
  if (type != S_IFREG && type != S_IFSOCK) return -EINVAL;
  i64 error = find_free_place(dirfd, path, false, &p);
  if (error == 0)
    error = add_at(&p, inode_new_in(p.dir->inode, type | ((u32)mode & 07777 & ~fs_umask),
                                 type == S_IFREG ? &regular_ops : &node_ops));
  place_put(&p);
  return error;
}

i64 sys_mknod(const u64 *a) { return do_mknod((u64)AT_FDCWD, a[0], a[1]); }

i64 sys_mknodat(const u64 *a) { return do_mknod(a[0], a[1], a[2]); }

/* ---- Linking --------------------------------------------------------------------------------- */

static i64 link_inode(struct inode *inode, u64 dirfd, u64 path) {
  struct place p;
  i64 error = find_free_place(dirfd, path, false, &p);
  if (error == 0 && p.dir->inode->dev != inode->dev) error = -EXDEV;
  if (error == 0) error = is_dir(inode) ? -EPERM : add_at(&p, inode_get(inode));
  if (error == 0) {
    inode->nlink++;
    inode_changed(inode);
  }
  place_put(&p);
  return error;
}

static i64 do_link(u64 old_dirfd, u64 old_path, u64 new_dirfd, u64 new_path, u64 flags) {
  struct target t;
  if (flags & ~(u64)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) return -EINVAL;
  i64 error = target_find(old_dirfd, old_path, flags, flags & AT_SYMLINK_FOLLOW ? WALK_FOLLOW : 0, &t);
  if (error == 0) error = t.dentry == NULL ? -EXDEV : link_inode(t.dentry->inode, new_dirfd, new_path);
  target_put(&t);
  return error;
}

i64 sys_link(const u64 *a) { return do_link((u64)AT_FDCWD, a[0], (u64)AT_FDCWD, a[1], 0); }

i64 sys_linkat(const u64 *a) { return do_link(a[0], a[1], a[2], a[3], a[4]); }

static i64 read_target(const struct inode *inode, u64 buf, u64 size) {
  struct text t = {0};
  if (!is_link(inode)) return -EINVAL;
  if (inode->ops->readlink != NULL) inode->ops->readlink((struct inode *)(uintptr_t)inode, &t);
  else text_add(&t, inode->target, inode->size);
  u64 n = MIN(size, t.size);
  i64 result = t.failed ? -ENOMEM : user_writable(buf, n) ? (i64)n : -EFAULT;
  if (result > 0) memcpy((void *)buf, t.data, n);
  kfree(t.data);
  return result;
}

static i64 do_readlink(u64 dirfd, u64 path, u64 buf, u64 size) {
  struct target t;
  if ((i32)size <= 0) return -EINVAL;
  i64 error = target_find(dirfd, path, AT_EMPTY_PATH, 0, &t);
  if (error == 0) error = t.dentry == NULL ? -EINVAL : read_target(t.dentry->inode, buf, (u32)size);
  target_put(&t);
  return error;
}

i64 sys_readlink(const u64 *a) { return do_readlink((u64)AT_FDCWD, a[0], a[1], a[2]); }

i64 sys_readlinkat(const u64 *a) { return do_readlink(a[0], a[1], a[2], a[3]); }

/* ---- Removing -------------------------------------------------------------------------------- */

static i64 check_rmdir(const struct place *p) {
  if (p->dots) return p->name_size == 1 ? (p->entry == process_root() ? -EBUSY : -EINVAL) : -ENOTEMPTY;
  if (p->entry == NULL) return -ENOENT;
  i64 error = inode_removable(p->dir->inode, p->entry->inode);
  return error != 0 || is_dir(p->entry->inode) ? error : -ENOTDIR;
}

static i64 check_unlink(const struct place *p) {
  if (p->dots) return -EISDIR;
  if (p->entry == NULL) return -ENOENT;
  if (p->slash) return is_dir(p->entry->inode) ? -EISDIR : -ENOTDIR;
  i64 error = inode_removable(p->dir->inode, p->entry->inode);
  return error == 0 && is_dir(p->entry->inode) ? -EISDIR : error;
}

static i64 do_unlink(u64 dirfd, u64 path, bool directory) {
  const char *name;
  struct place p;
  i64 error = path_arg(path, &name);
  if (error == 0) error = path_walk((int)dirfd, name, WALK_PARENT, &p);
  if (error != 0) return error;
  error = directory ? check_rmdir(&p) : check_unlink(&p);
  if (error == 0) error = directory_remove(p.entry);
  place_put(&p);
  return error;
}

i64 sys_unlink(const u64 *a) { return do_unlink((u64)AT_FDCWD, a[0], false); }

i64 sys_rmdir(const u64 *a) { return do_unlink((u64)AT_FDCWD, a[0], true); }

i64 sys_unlinkat(const u64 *a) {
  if (a[2] & ~(u64)AT_REMOVEDIR) return -EINVAL;
  return do_unlink(a[0], a[1], a[2] & AT_REMOVEDIR);
}

/* ---- Renaming -------------------------------------------------------------------------------- */

enum { RENAME_NOREPLACE = 1, RENAME_EXCHANGE = 2 };

/* A directory that moves is changed too: its `..`. */
static i64 move_denied(const struct place *from, const struct place *to) {
  i64 error = inode_removable(from->dir->inode, from->entry->inode);
  if (error != 0 || !is_dir(from->entry->inode) || from->dir->inode == to->dir->inode) return error;
  return inode_permission(from->entry->inode, MAY_WRITE);
}

static i64 rename_denied(const struct place *from, const struct place *to, bool exchange) {
  if (to->entry != NULL && to->entry->inode == from->entry->inode) return 0;
  i64 error = move_denied(from, to);
  if (error == 0 && to->entry == NULL) error = inode_permission(to->dir->inode, MAY_WRITE | MAY_EXECUTE);
  if (error == 0 && to->entry != NULL)
    error = exchange ? move_denied(to, from) : inode_removable(to->dir->inode, to->entry->inode);
  return error;
}

static i64 rename_places(const struct place *from, const struct place *to, u64 flags) {
  bool exchange = flags & RENAME_EXCHANGE, keep = flags & RENAME_NOREPLACE;
  if (from->dots || to->dots) return !from->dots && keep ? -EEXIST : -EBUSY;
  if (from->entry == NULL || (exchange && to->entry == NULL)) return -ENOENT;
  if (to->entry != NULL && keep) return -EEXIST;
  if (exchange && to->slash && !is_dir(to->entry->inode)) return -ENOTDIR;
  if ((from->slash || (to->slash && !exchange)) && !is_dir(from->entry->inode)) return -ENOTDIR;
  i64 error = rename_denied(from, to, exchange);
  if (error != 0) return error;
  if (exchange) return directory_exchange(from->entry, to->entry);
  return directory_rename(from->entry, to->dir, to->name, to->name_size, to->entry);
}

static i64 do_rename(u64 old_dirfd, u64 old_path, u64 new_dirfd, u64 new_path, u64 flags) {
  const char *old_name, *new_name;
  struct place from, to;
  if ((flags & ~(u64)(RENAME_NOREPLACE | RENAME_EXCHANGE)) || flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
    return -EINVAL;
  i64 error = path_arg(old_path, &old_name);
  if (error == 0) error = path_arg(new_path, &new_name);
  if (error == 0) error = path_walk((int)old_dirfd, old_name, WALK_PARENT, &from);
  if (error != 0) return error;
  error = path_walk((int)new_dirfd, new_name, WALK_PARENT, &to);
  if (error == 0) {
    error = rename_places(&from, &to, flags);
    place_put(&to);
  }
  place_put(&from);
  return error;
}

i64 sys_rename(const u64 *a) { return do_rename((u64)AT_FDCWD, a[0], (u64)AT_FDCWD, a[1], 0); }

i64 sys_renameat(const u64 *a) { return do_rename(a[0], a[1], a[2], a[3], 0); }

i64 sys_renameat2(const u64 *a) { return do_rename(a[0], a[1], a[2], a[3], (u32)a[4]); }
