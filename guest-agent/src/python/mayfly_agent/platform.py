"""Before anything of the function's is loaded: what the standard library imports and sets up at its first use is used once. A clone
uses everything for the first time, so that each request would pay for it: 4 ms for the name of a host, 2 for a date that is parsed."""

import contextlib
import datetime
import gzip
import socket
from concurrent import futures

_USES = (
    lambda: "\u00e9".encode("idna"),
    lambda: datetime.datetime.strptime("2000-01-02", "%Y-%m-%d"),
    lambda: datetime.datetime.now().astimezone().strftime("%c %Z"),
    lambda: socket.getaddrinfo("localhost", 80),
    lambda: futures.ThreadPoolExecutor,
    lambda: gzip.decompress(gzip.compress(b"a")),
)


def use_platform():
    """What is missing or refused is left out: it is the function's to find that out, if it ever uses it."""
    for use in _USES:
        with contextlib.suppress(Exception):
            use()
