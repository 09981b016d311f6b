"""Checkpoints and clones, as a Python program knows them.

    import mayfly

    @mayfly.after_clone
    def reconnect(generation):
        global database
        database = connect()

    warm_up()
    if mayfly.checkpoint() == "clone":   # every clone begins here, after its hooks
        serve()

In a clone the kernel's own is different already: the process id, os.urandom, secrets, uuid4, names of temporary files,
/etc/machine-id, the clocks. This module does the same for `random`, numpy.random, uuid1 and multiprocessing's key. What the
program itself drew or opened before is the same in all clones: an instance of random.Random, ids made in advance,
connections, and the seed of hash().
"""

import inspect
import os
import random
import sys

__all__ = ["after_clone", "checkpoint", "generation", "make_unique"]

_hooks = []


def after_clone(hook):
    """Has `hook(generation)` called in each clone before anything else, in the order of registration.

    `generation` is a text that differs in every clone. `hook` may be a coroutine function. Returns it, so that this can be
    used as a decorator.
    """
    if not callable(hook):
        raise TypeError("mayfly.after_clone wants a function")
    _hooks.append(hook)
    return hook


def checkpoint():
    """Asks for a checkpoint. Returns "original" in the machine that goes on, "clone" in each machine that starts from it.

    Outside of a machine, and where nobody takes checkpoints, it is "original". The variable MAYFLY_CHECKPOINT names another
    file than /dev/checkpoint: one that holds "clone" shows what a clone would do. Not to be called in an event loop when a
    hook is a coroutine function. Raises OSError, and what a hook raises.
    """
    try:
        fd = os.open(os.environ.get("MAYFLY_CHECKPOINT", "/dev/checkpoint"), os.O_RDONLY)
    except FileNotFoundError:
        return "original"
    try:
        side = os.read(fd, 16)
    finally:
        os.close(fd)
    if not side.startswith(b"clone"):
        return "original"
    make_unique(os.urandom(32), generation(), _run)
    return "clone"


def generation():
    """The number of this life of the machine, as text: another one in each clone and after each rewind. "" outside of one."""
    try:
        with open("/dev/generation", encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def make_unique(entropy, generation, run):
    """Makes this clone differ from all others, then runs the hooks: what checkpoint() does in a clone.

    For who finds by other means that it was cloned. `entropy`: 32 fresh bytes. `run` is given the coroutines of hooks.
    """
    random.seed(entropy)
    _seed_numpy(entropy)
    _renew_authkey(entropy)
    _forget_uuid_node()
    for hook in _hooks:
        waiting = hook(generation)
        if inspect.iscoroutine(waiting):
            run(waiting)


def _run(coroutine):
    import asyncio

    asyncio.run(coroutine)


def _seed_numpy(seed):
    """The global generator of numpy.random; its default_rng() is the program's own."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "random"):
        numpy.random.seed([int.from_bytes(seed[at : at + 4], "little") for at in range(0, len(seed), 4)])


def _renew_authkey(seed):
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = seed


def _forget_uuid_node():
    """uuid1 is made of a node id, a sequence number and the time. Without a network card the node id is drawn once, here
    or in libuuid, where it cannot be drawn again: so libuuid is not asked any more."""
    uuid = sys.modules.get("uuid")
    if uuid is not None:
        for name in ("_node", "_last_timestamp", "_generate_time_safe"):
            if hasattr(uuid, name):
                setattr(uuid, name, None)
