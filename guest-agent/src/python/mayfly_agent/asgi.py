"""Calls an ASGI 3 application: its lifespan while it is loaded, one HTTP request in each clone."""

import asyncio

from . import loop
from .failure import FunctionError
from .http import Target, request_of

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


def call(application, head, body, _context, answer):
    loop.run(_call(application, request_of(head), body, answer))


async def _call(application, head, body, answer):
    running = asyncio.get_running_loop()
    ended = asyncio.Event()
    read = False
    returned = False

    async def receive():
        nonlocal read
        if read:
            await ended.wait()
            return {"type": "http.disconnect"}
        if not body.at_hand:
            await _readable(body.fileno)
        piece = body.take()
        read = not body.more
        return {"type": "http.request", "body": piece, "more_body": not read}

    def send_on():
        """The application waits, or goes on behind its answer: what there is must not."""
        if returned or answer.ended:
            return
        if ended.is_set():
            answer.end(pending=True)
        else:
            answer.flush()

    async def send(message):
        kind = message["type"]
        if kind == "http.response.start" and not answer.started:
            headers = [[_text(name), _text(value)] for name, value in message.get("headers", [])]
            answer.start(message["status"], headers)
        elif kind == "http.response.body" and answer.started and not ended.is_set():
            answer.add(message.get("body", b""))
            if not message.get("more_body", False):
                ended.set()
            running.call_soon(send_on)
        else:
            raise RuntimeError(f"{kind} is not expected here")

    await application(_scope(head), receive, send)
    returned = True
    if not ended.is_set():
        raise FunctionError("FUNCTION_BAD_RESULT", "the application returned before its answer was complete")
    if not answer.ended:
        answer.end()


async def _readable(fileno):
    """Waits without holding up what else the application does."""
    running = asyncio.get_running_loop()
    ready = running.create_future()
    running.add_reader(fileno, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        running.remove_reader(fileno)


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
