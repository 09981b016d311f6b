"""Loads the user's module and finds the function in it."""

import asyncio
import importlib.util
import inspect
import os
import sys

from .failure import FunctionError

_WANTED = (
    "Mayfly calls `def handler(event, context)`, or a WSGI or ASGI application named `app` or `application`; "
    'another name is said in mayfly.json: "entry": "main.py:name"'
)


def load(entry):
    """`entry` is PATH or PATH:NAME; gives (kind, callable) where kind is handler, wsgi or asgi.

    Raises FunctionError FUNCTION_SYNTAX and FUNCTION_NO_EXPORT; what the module itself raises goes through.
    """
    path, _, name = entry.partition(":")
    folder = os.path.dirname(path)
    # The module's folder, and what `pip install -t vendor` put beside it.
    sys.path[:0] = [folder, os.path.join(folder, "vendor")]
    try:
        module = _import(path)
    except SyntaxError as error:
        if error.filename is None or error.lineno is None:
            raise  # the module's own
        raise _syntax_error(error, folder) from error
    return _find(module, name)


def _import(path):
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as `import` does: pickle and dataclasses look there
    spec.loader.exec_module(module)
    return module


def _syntax_error(error, folder):
    file = os.path.relpath(error.filename, folder) if os.path.isabs(error.filename) else error.filename
    column = error.offset or 1
    location = {"line": error.lineno, "column": column, "lineText": (error.text or "").rstrip()[:200]}
    return FunctionError("FUNCTION_SYNTAX", f"{file}:{error.lineno}:{column}: {error.msg}", location)


def _find(module, name):
    if name:
        found = getattr(module, name, None)
        if callable(found):
            return _kind_of_any(found), found
        what = "no" if found is None else "no callable"
        raise FunctionError("FUNCTION_NO_EXPORT", f"the module has {what} `{name}`")
    if callable(getattr(module, "handler", None)):
        return "handler", module.handler
    for name in ("app", "application"):
        found = getattr(module, name, None)
        if callable(found):
            return _kind_of_application(found), found
    names = [name for name in vars(module) if not name.startswith("_")]
    raise FunctionError("FUNCTION_NO_EXPORT", f"the module has {', '.join(names[:20]) or 'nothing'}; {_WANTED}")


def _kind_of_application(found):
    called = found if inspect.isroutine(found) else type(found).__call__
    return "asgi" if asyncio.iscoroutinefunction(called) else "wsgi"


def _kind_of_any(found):
    """Functions are told apart by their first parameter, as the standards name it; objects are applications."""
    if not inspect.isroutine(found):
        return _kind_of_application(found)
    first = next(iter(inspect.signature(found).parameters), "")
    return {"environ": "wsgi", "scope": "asgi"}.get(first, "handler")
