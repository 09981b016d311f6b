"""Before the template is captured: the path of an invocation is walked, so that what Python imports and caches on the way is
in the template. The user's code is not called: it must see one invocation only, in a clone."""

import random

from . import asgi, console, failure, handler, loop, wsgi
from .answer import Answer
from .request_body import RequestBody
from .stream import encoded

_ROUNDS = 3


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
