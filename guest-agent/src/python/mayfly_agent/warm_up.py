"""Before the template is captured: the path of an invocation is walked, so that what Python imports and caches on the way is
in the template. The user's code is not called: unless it asks for it, it sees one invocation only, in a clone."""

import random
import time

from . import asgi, console, failure, handler, loop, wsgi
from .answer import Answer
from .request_body import RequestBody
from .stream import encoded

_ROUNDS = 3
# A status from here on says that the function, or the path, is not what was meant.
_FAILED_FROM = 400


def warm_up(kind):
    head = {
        "type": "request",
        "method": "POST",
        "url": "http://localhost/warm/up?a=1",
        "headers": [["host", "localhost"], ["content-type", "application/json"]],
    }
    state = random.getstate()
    for _ in range(_ROUNDS):
        random.seed(b"warm")
        if kind == "handler":
            _call(handler.call, lambda event, context: event, head)
            _call(handler.call, lambda event, context: event, {"type": "event"})
        elif kind == "wsgi":
            _call(wsgi.call, _wsgi, head)
        else:
            _call(asgi.call, _asgi, head)
    failure.error_head(ValueError("warm"))
    random.setstate(state)
    console.take()


def warm_up_function(call, function, wanted, context_of):
    """Calls the user's function, because its `warmup` asks for it. Gives the lines that it logged.

    Raises FunctionError FUNCTION_WARMUP, and what the function raises.
    """
    head = {
        **wanted["head"],
        "id": "warm",
        "deadlineMs": time.time() * 1000 + 60_000,
        "generation": "warm",
    }
    stream = _Memory()
    answer = Answer(stream)
    what = f"{_name_of(wanted['head'])}, which is to warm the function up,"
    try:
        call(function, head, RequestBody(stream, head, wanted["body"].encode()), context_of(head), answer)
        answer.done()
    except failure.FunctionError:
        raise
    except Exception as error:
        raise failure.FunctionError("FUNCTION_THREW", f"{what} failed: {failure.described(error)}") from error
    if stream.status >= _FAILED_FROM:
        raise failure.FunctionError("FUNCTION_WARMUP", f"{what} was answered with {stream.status}")
    return stream.logs


def _name_of(head):
    if head["type"] == "event":
        return "the event"
    return f"{head['method']} {head['url'].removeprefix('http://localhost')}"


class _Memory:
    def __init__(self):
        self.logs = []
        self.status = 0

    def write(self, head, body=b""):
        self.logs += head.get("logs", [])
        self.status = head.get("status", self.status)


class _Nowhere:
    def write(self, head, body=b""):
        encoded(head, body)


def _call(call, function, head):
    stream = _Nowhere()
    call(function, head, RequestBody(stream, head, b'{"a":1}'), None, Answer(stream))


def _wsgi(environ, start_response):
    print("warm", file=environ["wsgi.errors"])
    start_response("200 OK", [("content-type", "text/plain")])
    return [environ["wsgi.input"].read()]


async def _asgi(_scope, receive, send):
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": message["body"]})
