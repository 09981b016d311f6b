"""Calls a WSGI application (PEP 3333)."""

import io
import sys

from .failure import FunctionError
from .http import Target, request_of, response


def call(application, head, body, _context):
    started = []
    written = []

    def start_response(status, headers, exc_info=None):
        if started and exc_info is None:
            raise AssertionError("start_response() was called twice")
        started[:] = [status, headers]
        return written.append

    parts = application(_environ(request_of(head), body), start_response)
    try:
        written.extend(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    if not started:
        raise FunctionError("FUNCTION_BAD_RESULT", "the application did not call start_response()")
    status, headers = started
    try:
        payload = b"".join(written)
    except TypeError as error:
        raise FunctionError("FUNCTION_BAD_RESULT", "the application returned something else than bytes") from error
    return response(_code(status), [[name, value] for name, value in headers]), payload


def _code(status):
    code = str(status)[:3]
    if not code.isdigit():
        raise FunctionError("FUNCTION_BAD_RESULT", f"the status {status!r} does not start with a number")
    return int(code)


def _environ(head, body):
    target = Target(head["url"])
    environ = {
        "REQUEST_METHOD": head["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": target.path_bytes.decode("latin-1"),
        "QUERY_STRING": target.query,
        "SERVER_NAME": target.host,
        "SERVER_PORT": str(target.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": target.scheme,
        "wsgi.input": io.BytesIO(body),
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
        return
    key = name if name == "CONTENT_TYPE" else f"HTTP_{name}"
    environ[key] = f"{environ[key]},{value}" if key in environ else value
