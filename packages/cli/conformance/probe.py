"""What a Python clone draws and sees. Some of it is drawn while the function loads, so that the template has it."""

import os
import random
import secrets
import socket
import ssl
import tempfile
import time
import uuid

import mayfly

hooked = []


@mayfly.after_clone
def hook(generation):
    hooked.append(generation)


def text(path):
    with open(path, encoding="latin-1") as file:
        return file.read().strip()


def draw():
    return {
        "uuid.uuid4": str(uuid.uuid4()),
        "node of uuid.uuid1": uuid.uuid1().node,
        "random.random": random.random(),
        "os.urandom": os.urandom(16).hex(),
        "secrets.token_hex": secrets.token_hex(16),
        "ssl.RAND_bytes": ssl.RAND_bytes(16).hex(),
        "temporary file name": tempfile.mkdtemp(),
    }


draw()


def handler(event, context):
    mono_ms = time.monotonic() * 1000
    wall_ms = time.time() * 1000
    return {
        "wallMs": wall_ms,
        "monoMs": mono_ms,
        "unique": {
            **draw(),
            "process id": os.getpid(),
            "machine id": text("/etc/machine-id"),
            "boot id": text("/proc/sys/kernel/random/boot_id"),
            "kernel uuid": text("/proc/sys/kernel/random/uuid"),
            "generation": text("/dev/generation"),
            "generation told to hooks": ",".join(hooked),
        },
        "same": {"host name": socket.gethostname(), "hooks that ran": len(hooked)},
    }
