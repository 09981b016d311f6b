/* AF_UNIX: sockets with a name. A path name is a file in the tree, so that the program can see, rename and unlink it:
 * who connects finds the socket by that file. Abstract names are compared byte by byte. */
#include "../fs/inode.h"
#include "errno.h"
#include "lib.h"
#include "socket.h"

static struct list bound = LIST_INIT(bound);

static struct socket *socket_of(struct list *link) { return CONTAINER(link, struct socket, bound); }

static bool is_path(const struct address *a) { return a->size > 2 && a->un.path[0] != 0; }

/* A path name counts up to its first NUL, an abstract one with every byte. */
static i64 normalize(const struct address *from, struct address *to) {
  if (from->size < 2 || from->family != AF_UNIX || from->size > sizeof(struct sockaddr_un)) return -EINVAL;
  *to = *from;
  if (!is_path(from)) return 0;
  size_t n = strnlen(from->un.path, from->size - 2);
  if (n == sizeof from->un.path) return -EINVAL;
  to->un.path[n] = 0;
  to->size = (u32)(2 + n + 1);
  return 0;
}

static struct socket *find_abstract(const struct address *a) {
  LIST_EACH(&bound, link)
  if (address_equal(&socket_of(link)->local, a)) return socket_of(link);
  return NULL;
}

/* NULL and *error: nobody has this name. */
static struct socket *find_name_error(const struct address *a, i64 *error) {
  struct socket *found = is_path(a) ? NULL : find_abstract(a);
  *error = found == NULL ? -ECONNREFUSED : 0;
  if (!is_path(a)) return found;
  struct file *f = file_open(a->un.path, O_PATH, error);
  if (f == NULL) return NULL;
  *error = inode_permission(f->inode, MAY_WRITE);
  if (*error == 0) *error = -ECONNREFUSED;
  LIST_EACH(&bound, link)
  if (*error == -ECONNREFUSED && socket_of(link)->name != NULL && socket_of(link)->name->inode == f->inode) found = socket_of(link);
  file_put(f);
  return found;
}

static struct socket *find_name(const struct address *a) {
  i64 error;
  return find_name_error(a, &error);
}

static struct socket *find_peer(const struct socket *s, const struct address *a) { return find_name(a); }

/* bind() with no more than the family: an abstract name nobody has. */
static void choose_name(struct address *a) {
  static u32 counter;
  do {
    a->un.path[0] = 0;
    snprint(a->un.path + 1, 8, "%05x", ++counter & 0xfffff);
    a->size = 2 + 1 + 5;
  } while (find_abstract(a) != NULL);
}

static i64 make_file(struct socket *s, const char *path) {
  i64 error = file_make_socket(path);
  if (error == 0) s->name = file_open(path, O_PATH, &error);
  return error;
}

static i64 unix_bind(struct socket *s, const struct address *a) {
  struct address name;
  i64 error = normalize(a, &name);
  if (error != 0) return error;
  if (s->local.size > 2) return -EINVAL;
  if (name.size == 2) choose_name(&name);
  error = is_path(&name) ? make_file(s, name.un.path) : find_abstract(&name) != NULL ? -EADDRINUSE : 0;
  if (error != 0) return error;
  s->local = name;
  list_push(&bound, &s->bound);
  return 0;
}

static i64 unix_listen(struct socket *s) { return s->local.size > 2 ? 0 : -EINVAL; }

static i64 unix_connect(struct socket *s, const struct address *a, bool nonblock) {
  struct address name;
  i64 error = normalize(a, &name);
  if (error != 0) return error;
  struct socket *target = find_name_error(&name, &error);
  if (target == NULL) return error;
  if (s->type != SOCK_DGRAM) return local_connect(s, find_peer, &name, nonblock);
  if (target->type != SOCK_DGRAM) return -EPROTOTYPE;
  s->remote = name;
  s->state = SOCKET_CONNECTED;
  return 0;
}

static i64 find_target(const struct socket *s, const struct message *m, struct socket **target) {
  struct address name;
  bool named = m->address != NULL && m->address->size > 0;
  *target = s->peer;
  if (s->pair && !named) return s->peer == NULL ? -ECONNREFUSED : 0;
  if (!named && s->state != SOCKET_CONNECTED) return -ENOTCONN;
  i64 error = normalize(named ? m->address : &s->remote, &name);
  if (error != 0) return error;
  *target = find_name_error(&name, &error);
  if (*target == NULL) return error;
  if ((*target)->type != SOCK_DGRAM) return -EPROTOTYPE;
  bool taken = (*target)->state == SOCKET_CONNECTED && !address_equal(&(*target)->remote, &s->local);
  return taken ? -EPERM : 0;
}

static ssize_t send_datagram(struct socket *s, struct message *m) {
  struct socket *target;
  if (s->out_ended) return -EPIPE;
  i64 error = find_target(s, m, &target);
  if (error != 0) return error;
  if (target->in_ended) return -EPIPE;
  if (m->size > target->in.limit) return -EMSGSIZE;
  if (target->in.size + m->size > target->in.limit) return -EAGAIN;
  if (!inbox_append_datagram(&target->in, m, s->local.size > 0 ? &s->local : NULL)) return -ENOMEM;
  wake(&target->queue, POLLIN);
  return (ssize_t)m->size;
}

static ssize_t unix_send(struct socket *s, struct message *m, size_t offset) {
  if (s->type == SOCK_DGRAM) return send_datagram(s, m);
  if (m->address != NULL && m->address->size > 0) return s->state == SOCKET_CONNECTED ? -EISCONN : -EOPNOTSUPP;
  return local_send(s, m, offset);
}

const struct transport unix_transport = {.bind = unix_bind,
                                         .listen = unix_listen,
                                         .connect = unix_connect,
                                         .send = unix_send,
                                         .can_send = local_can_send,
                                         .consumed = local_consumed,
                                         .shutdown = local_shutdown,
                                         .close = local_close};
