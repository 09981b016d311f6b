"""Calls a WSGI application (PEP 3333)."""

import sys

from .failure import FunctionError
from .http import Target, request_of


def call(application, head, body, _context, answer):
    length = None

    def start_response(status, headers, exc_info=None):
        nonlocal length
        if exc_info is not None and answer.on_its_way:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and answer.started:
            raise AssertionError("start_response() was called twice")
        answer.start(_code(status), [[name, value] for name, value in headers])
        length = next((value for name, value in headers if name.lower() == "content-length"), None)
        return answer.add

    parts = application(_environ(request_of(head), body), start_response)
    # Between two parts of a list, or of a body that says its length, nobody waits as far as one can see.
    at_hand = isinstance(parts, (list, tuple))
    try:
        for part in parts:
            if not answer.started:
                break
            answer.add(part)
            if not at_hand and length is None:
                answer.flush()
    finally:
        if hasattr(parts, "close"):
            parts.close()
    if not answer.started:
        raise FunctionError("FUNCTION_BAD_RESULT", "the application did not call start_response()")
    answer.end()


def _code(status):
    code = str(status)[:3]
    if not code.isdigit():
        raise FunctionError("FUNCTION_BAD_RESULT", f"the status {status!r} does not start with a number")
    return int(code)


def _environ(head, body):
    target = Target(head["url"])
    length = {} if body.more else {"CONTENT_LENGTH": str(body.size)}
    environ = {
        **length,
        "REQUEST_METHOD": head["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": target.path_bytes.decode("latin-1"),
        "QUERY_STRING": target.query,
        "SERVER_NAME": target.host,
        "SERVER_PORT": str(target.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": target.scheme,
        "wsgi.input": body.file(),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in head["headers"]:
        _add_header(environ, name.upper().replace("-", "_"), value)
    return environ


def _add_header(environ, name, value):
    if name == "CONTENT_LENGTH":
        environ.setdefault(name, value)
        return
    key = name if name == "CONTENT_TYPE" else f"HTTP_{name}"
    environ[key] = f"{environ[key]},{value}" if key in environ else value
