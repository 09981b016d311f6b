"""Calls handler(event, context).

For an HTTP request the event is {method, path, query, headers, body, isBase64Encoded}; what comes back is {statusCode,
headers, body, isBase64Encoded} or any other value, which is sent as JSON. For a plain event, event and result are JSON
and nothing else. guest-agent/src/node/handler.ts does the same for JavaScript.
"""

import base64
import inspect
import json
from urllib.parse import parse_qsl

from . import loop
from .failure import FunctionError
from .http import Target


def call(handler, head, body, context, answer):
    if head["type"] == "event":
        answer.result(_json(_result(handler(json.loads(body.whole()), context))))
    else:
        _reply(_result(handler(_event(head, body.whole()), context)), answer)


def _result(result):
    return loop.run(result) if inspect.iscoroutine(result) else result


def _event(head, body):
    target = Target(head["url"])
    headers = {}
    for name, value in head["headers"]:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    try:
        text, encoded = body.decode(), False
    except UnicodeDecodeError:
        text, encoded = base64.b64encode(body).decode(), True
    return {
        "method": head["method"],
        "path": target.raw_path,
        "query": dict(parse_qsl(target.query, keep_blank_values=True)),
        "headers": headers,
        "body": text,
        "isBase64Encoded": encoded,
    }


def _reply(result, answer):
    status = result.get("statusCode") if isinstance(result, dict) else None
    if result is None:
        answer.start(204, [])
    elif not isinstance(status, int):
        body = _json(result)
        answer.start(200, [["content-type", "application/json"]])
        answer.add(body)
    elif not 200 <= status <= 599:
        raise FunctionError("FUNCTION_BAD_RESULT", f"statusCode {status} is not in 200..599")
    else:
        body = result.get("body")
        parts = body if hasattr(body, "__next__") or hasattr(body, "__anext__") else _body(result)
        answer.start(status, _header_pairs(result.get("headers") or {}))
        _add(parts, answer)
    answer.end()


def _add(parts, answer):
    """A body at hand, or the pieces that a generator gives, each of them sent before the next is asked for."""
    if isinstance(parts, bytes):
        answer.add(parts)
        return
    for part in parts if hasattr(parts, "__next__") else _each(parts):
        answer.add(part.encode() if isinstance(part, str) else part)
        answer.flush()


def _each(parts):
    while True:
        try:
            yield loop.run(anext(parts))
        except StopAsyncIteration:
            return


def _header_pairs(headers):
    pairs = []
    for name, value in headers.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            pairs.append([str(name), str(one)])
    return pairs


def _body(result):
    body = result.get("body")
    if body is None:
        return b""
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    if isinstance(body, str):
        try:
            return base64.b64decode(body) if result.get("isBase64Encoded") else body.encode()
        except ValueError as error:
            raise FunctionError("FUNCTION_BAD_RESULT", f"body cannot be sent: {error}") from error
    raise FunctionError("FUNCTION_BAD_RESULT", "body must be str, bytes or a generator of them")


def _json(value):
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise FunctionError("FUNCTION_BAD_RESULT", f"the result has no JSON: {error}") from error
