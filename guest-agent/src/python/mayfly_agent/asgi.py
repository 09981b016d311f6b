"""Calls an ASGI 3 application: its lifespan while it is loaded, one HTTP request in each clone."""

import asyncio

from . import loop
from .failure import FunctionError
from .http import Target, request_of, response

_VERSIONS = {"version": "3.0", "spec_version": "2.3"}

_state = {}
_lifespan = None


def start(application):
    """Runs the application's start-up, if it has one. Raises FunctionError FUNCTION_THREW when it says that it failed."""
    loop.run(_start(application))


async def _start(application):
    global _lifespan
    started = asyncio.get_running_loop().create_future()
    asked = False

    async def receive():
        nonlocal asked
        if asked:
            await asyncio.get_running_loop().create_future()  # no clone shuts down
        asked = True
        return {"type": "lifespan.startup"}

    async def send(message):
        if not started.done():
            started.set_result(message)

    scope = {"type": "lifespan", "asgi": _VERSIONS, "state": _state}
    _lifespan = asyncio.ensure_future(application(scope, receive, send))
    await asyncio.wait({_lifespan, started}, return_when=asyncio.FIRST_COMPLETED)
    if not started.done():
        _lifespan.exception()  # an application without lifespan raises, says the specification
        return
    if started.result().get("type") == "lifespan.startup.failed":
        message = started.result().get("message") or "the application's start-up failed"
        raise FunctionError("FUNCTION_THREW", message)


def call(application, head, body, _context):
    return loop.run(_call(application, request_of(head), body))


async def _call(application, head, body):
    answer = _Answer()
    ended = asyncio.Event()
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if answer.take(message):
            ended.set()

    await application(_scope(head), receive, send)
    return answer.reply()


class _Answer:
    """Collects what the application sends."""

    def __init__(self):
        self._start = None
        self._parts = []
        self._ended = False

    def take(self, message):
        """Whether the answer is complete."""
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
        elif kind == "http.response.body" and self._start is not None and not self._ended:
            self._parts.append(bytes(message.get("body", b"")))
            self._ended = not message.get("more_body", False)
        else:
            raise RuntimeError(f"{kind} is not expected here")
        return self._ended

    def reply(self):
        if not self._ended:
            raise FunctionError("FUNCTION_BAD_RESULT", "the application returned before its answer was complete")
        headers = [[_text(name), _text(value)] for name, value in self._start.get("headers", [])]
        return response(self._start["status"], headers), b"".join(self._parts)


def _text(value):
    return bytes(value).decode("latin-1")


def _scope(head):
    target = Target(head["url"])
    return {
        "type": "http",
        "asgi": _VERSIONS,
        "http_version": "1.1",
        "method": head["method"],
        "scheme": target.scheme,
        "path": target.path_bytes.decode("utf-8", "replace"),
        "raw_path": target.raw_path.encode("latin-1", "replace"),
        "query_string": target.query.encode("latin-1", "replace"),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in head["headers"]],
        "client": ("127.0.0.1", 0),
        "server": (target.host, target.port),
        "state": _state.copy(),
    }
