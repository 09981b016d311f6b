"""The answer of one invocation, on its way to the host: one frame if all of it is at hand, chunks otherwise.

Writing blocks while the host takes no more: whoever reads the answer slowly holds up the function that makes it.
guest-agent/src/node/answer.ts does the same for JavaScript.
"""

from . import console
from .failure import FunctionError

_CHUNK_BYTES = 64 * 1024
# Longer bodies travel in chunks: neither side then has to hold all of one.
_AT_ONCE_MAX = 1024 * 1024


class Answer:
    def __init__(self, stream):
        self._stream = stream
        self._head = None
        self._parts = []
        self._size = 0
        self._pending = False
        self.started = False
        self.ended = False

    def start(self, status, headers):
        self._head = {"type": "response", "status": status, "headers": headers}
        self.started = True

    @property
    def on_its_way(self):
        """The host has the head: it can be changed no more."""
        return self.started and self._head is None

    def result(self, body):
        """The answer to an event, whole."""
        self._head = {"type": "result"}
        self.started = self.ended = True
        self._write_head(body, {})

    def add(self, part):
        if not isinstance(part, (bytes, bytearray, memoryview)):
            raise FunctionError("FUNCTION_BAD_RESULT", f"a body is made of bytes, not {type(part).__name__}")
        self._parts.append(bytes(part))
        self._size += len(part)
        if self._size > _AT_ONCE_MAX:
            self.flush()

    def flush(self):
        """Sends what there is: the function may make its reader wait for more."""
        body = self._take()
        if self._head is not None:
            self._write_head(body[:_CHUNK_BYTES], {"more": True})
            body = body[_CHUNK_BYTES:]
        self._flush_logs()
        for at in range(0, len(body), _CHUNK_BYTES):
            self._stream.write({"type": "chunk"}, body[at : at + _CHUNK_BYTES])

    def end(self, pending=False):
        """`pending`: the function goes on; then done() is called too."""
        self.ended = True
        self._pending = pending
        more = {"pending": True} if pending else {}
        body = self._take()
        if self._head is not None:
            self._write_head(body, more)
            return
        self._flush_logs()
        self._stream.write({"type": "chunk", "end": True, **more}, body)

    def done(self):
        """The function has returned."""
        if self._pending:
            self._flush_logs()
            self._stream.write({"type": "done"})

    def _take(self):
        body = memoryview(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
        self._parts = []
        self._size = 0
        return body

    def _write_head(self, body, more):
        head, self._head = self._head, None
        self._stream.write({**head, "logs": console.take(), **more}, body)

    def _flush_logs(self):
        if logs := console.take():
            self._stream.write({"type": "log", "logs": logs})
