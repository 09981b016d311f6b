"""Imported by Python before an HTTP server that knows nothing of clones. Each clone serves one request: what Python seeds once a
process is seeded when the request's first bytes are read, and what the first request would import is imported before."""

import gc
import os
import socket

import mayfly
from mayfly_agent.platform import use_platform

_recv = socket.socket.recv
_recv_into = socket.socket.recv_into
_listen = socket.socket.listen
_pid = os.getpid()


def _unique():
    """A clone has a process id of its own."""
    global _pid
    pid = os.getpid()
    if pid != _pid:
        _pid = pid
        mayfly.make_unique(os.urandom(32), mayfly.generation(), _run)


def _run(coroutine):
    """In a thread, since a server may have an event loop in its own."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, coroutine).result()


def recv(self, *args):
    received = _recv(self, *args)
    _unique()
    return received


def recv_into(self, *args, **kwargs):
    received = _recv_into(self, *args, **kwargs)
    _unique()
    return received


def listen(self, *args):
    _listen(self, *args)
    # What was loaded is never garbage; looking at it again would write to its pages in each clone.
    gc.collect()
    gc.freeze()


use_platform()
socket.socket.recv = recv
socket.socket.recv_into = recv_into
socket.socket.listen = listen
