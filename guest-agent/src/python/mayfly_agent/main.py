"""The agent for Python functions: what a Python guest runs. Its life:

    use the platform -> load the function -> warm up -> ready -> wait -> (template captured, cloned) -> invoke -> answer -> wait
                                        \\-> error, exit                                                       \\-> error -/

    MAYFLY_AGENT_STREAM  where the host is: a path, or fd:N  (default /dev/vsock/2/1024)
    MAYFLY_FUNCTION      the function's file, or FILE:NAME   (default /function/main.py)
    MAYFLY_WARMUP        what it answers before it is ready: a list of WarmUpCall, as JSON
"""

import base64
import faulthandler
import gc
import json
import os
import sys
import time

import mayfly

from . import asgi, console, handler, loop, wsgi
from .answer import Answer
from .failure import FunctionError, error_head
from .load import load
from .platform import use_platform
from .request_body import RequestBody
from .stream import PLACE_DEFAULT, FrameTooLarge, Stream
from .warm_up import warm_up, warm_up_function

_CALLS = {"handler": handler.call, "wsgi": wsgi.call, "asgi": asgi.call}


class Context:
    """Told to a handler about its invocation."""

    def __init__(self, head):
        self.id = head["id"]
        self.deadline_ms = head["deadlineMs"]
        self.generation = head["generation"]

    def remaining_ms(self):
        """Milliseconds until the host stops the guest."""
        return max(0, self.deadline_ms - time.time() * 1000)


def main():
    stream = Stream(os.environ.pop("MAYFLY_AGENT_STREAM", PLACE_DEFAULT))
    entry = os.environ.pop("MAYFLY_FUNCTION", "/function/main.py")
    warmup = json.loads(os.environ.pop("MAYFLY_WARMUP", "[]"))
    os.environ.pop("PYTHONCOERCECLOCALE", None)
    faulthandler.enable(sys.__stderr__)  # a crash leaves a traceback on the machine's console
    sys.argv = [entry.partition(":")[0]]
    console.capture()
    use_platform()
    try:
        kind, function = load(entry)
        if kind == "asgi":
            asgi.start(function)
    except BaseException as error:
        stream.write(error_head(error))
        os._exit(1)
    logs = console.take()
    warm_up(kind)
    try:
        for wanted in warmup:
            logs += warm_up_function(_CALLS[kind], function, wanted, Context)
    except BaseException as error:
        stream.write(error_head(error))
        os._exit(1)
    # What is there now is never garbage; looking at it again would write to its pages in each clone.
    gc.collect()
    gc.freeze()
    version = f"Python {sys.version.split()[0]}"
    stream.write({"type": "ready", "exports": kind, "version": version, "pid": os.getpid(), "logs": logs})
    _serve(stream, _CALLS[kind], function)


def _serve(stream, call, function):
    while (frame := stream.read()) is not None:
        head, first = frame
        if head["type"] == "chunk":
            continue  # the function before left it unread
        body = RequestBody(stream, head, first)
        answer = Answer(stream)
        try:
            os.environ.update(head.get("env", {}))
            mayfly.make_unique(base64.b64decode(head["entropy"]), head["generation"], loop.run)
            call(function, head, body, Context(head), answer)
            answer.done()
        except FrameTooLarge as error:
            stream.write(error_head(FunctionError("FUNCTION_BAD_RESULT", str(error))))
        except BaseException as error:  # sys.exit() too
            stream.write(error_head(error))
    os._exit(0)
