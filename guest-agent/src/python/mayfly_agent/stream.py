"""The agent's end of the stream to the host: length-prefixed frames of a JSON head and a raw body.

packages/protocol/src/frames.ts draws a frame and names the limits. Reading blocks on purpose: while the agent waits for a
frame, the guest has nothing to do, and the template is captured inside such a read.
"""

import json
import os
import struct

PLACE_DEFAULT = "/dev/vsock/2/1024"
HEAD_BYTES_MAX = 512 * 1024
BODY_BYTES_MAX = 16 * 1024 * 1024

_CHUNK_BYTES = 64 * 1024
_PREFIX = struct.Struct("<II")
_HEAD_LENGTH_BYTES = 4

_encode = json.JSONEncoder(separators=(",", ":")).encode


class FrameTooLarge(Exception):
    pass


def encoded(head, body):
    """One frame. Raises FrameTooLarge."""
    text = _encode(head).encode()
    for part, length, limit in (("head", len(text), HEAD_BYTES_MAX), ("body", len(body), BODY_BYTES_MAX)):
        if length > limit:
            raise FrameTooLarge(f"the {part} of the frame has {length} bytes, the limit is {limit}")
    total = _HEAD_LENGTH_BYTES + len(text) + len(body)
    return b"".join((_PREFIX.pack(total, len(text)), text, body))


class Stream:
    def __init__(self, place):
        """`place` is a path, or fd:N for a file descriptor that is open already."""
        inherited = place.startswith("fd:")
        self._fd = int(place[3:]) if inherited else os.open(place, os.O_RDWR | os.O_CLOEXEC)
        self._left = b""

    def read(self):
        """The next frame as (head, body); None when the host closed the stream."""
        prefix = self._take(_PREFIX.size)
        if prefix is None:
            return None
        total, head_bytes = _PREFIX.unpack(prefix)
        payload = self._take(total - _HEAD_LENGTH_BYTES)
        if payload is None:
            return None
        return json.loads(payload[:head_bytes]), payload[head_bytes:]

    @property
    def fileno(self):
        return self._fd

    def write(self, head, body=b""):
        """Raises FrameTooLarge before a byte is written."""
        frame = memoryview(encoded(head, body))
        while frame:
            frame = frame[os.write(self._fd, frame) :]

    def _take(self, length):
        """Exactly so many bytes; small frames arrive in one read, with nothing left over."""
        left = self._left
        if len(left) < length:
            parts = [left]
            missing = length - len(left)
            while missing > 0:
                chunk = os.read(self._fd, max(_CHUNK_BYTES, min(missing, BODY_BYTES_MAX)))
                if not chunk:
                    return None
                parts.append(chunk)
                missing -= len(chunk)
            left = b"".join(parts)
        self._left = left[length:]
        return left[:length]
