"""The body of a request: what came with its head, and the chunks that follow, read as the function asks for them."""

import io


class RequestBody:
    def __init__(self, stream, head, first):
        self._stream = stream
        self._first = first
        self.more = bool(head.get("more"))

    @property
    def at_hand(self):
        """The next piece can be taken without waiting for it."""
        return bool(self._first) or not self.more

    @property
    def size(self):
        """Of what is at hand."""
        return len(self._first)

    @property
    def fileno(self):
        """What becomes readable when there is a chunk."""
        return self._stream.fileno

    def take(self):
        """The next piece; b"" behind the last one."""
        while not self._first and self.more:
            frame = self._stream.read()
            if frame is None:
                raise ConnectionError("the body of the request broke off")
            head, self._first = frame
            self.more = not head.get("end")
        piece, self._first = self._first, b""
        return piece

    def whole(self):
        if not self.more:
            return self.take()
        return b"".join(iter(self.take, b""))

    def file(self):
        """A file to read it from."""
        return io.BytesIO(self.take()) if not self.more else io.BufferedReader(_Raw(self), 64 * 1024)


class _Raw(io.RawIOBase):
    def __init__(self, body):
        self._body = body
        self._left = memoryview(b"")

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self._left:
            self._left = memoryview(self._body.take())
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
