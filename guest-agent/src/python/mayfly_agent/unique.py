"""Makes a clone differ from all others of its template, which start with the same memory.

The guest kernel makes os.urandom() fresh, and with it `secrets`, `uuid.uuid4` and random.SystemRandom; a new process id makes
OpenSSL and `tempfile` seed themselves again. Here is the rest: generators that were seeded while the function was loaded.
"""

import base64
import inspect
import random
import sys

import mayfly

from . import loop


def make_unique(entropy, generation):
    """`entropy`: base64 of 32 bytes. Before any code of the function runs."""
    seed = base64.b64decode(entropy)
    random.seed(seed)
    _seed_numpy(seed)
    _renew_authkey(seed)
    for hook in mayfly._hooks:
        waiting = hook(generation)
        if inspect.iscoroutine(waiting):
            loop.run(waiting)


def _seed_numpy(seed):
    """The global generator of numpy.random; its default_rng() is the function's own."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "random"):
        numpy.random.seed([int.from_bytes(seed[at : at + 4], "little") for at in range(0, len(seed), 4)])


def _renew_authkey(seed):
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = seed
