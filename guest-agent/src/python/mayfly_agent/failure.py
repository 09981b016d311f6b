"""What goes wrong in a function, as the head of an error frame."""

import os
import traceback

from . import console

_MESSAGE_CHARS_MAX = 4096
_STACK_CHARS_MAX = 8192
_AGENT = os.path.dirname(__file__)


class FunctionError(Exception):
    """An error whose code the agent knows better than FUNCTION_THREW."""

    def __init__(self, code, message, location=None):
        super().__init__(message)
        self.code = code
        self.location = location


def error_head(error):
    """Describes anything that can be raised; takes the log lines along."""
    known = described(error)
    head = {
        "type": "error",
        "code": known.code,
        "message": str(known)[:_MESSAGE_CHARS_MAX],
        "stack": _stack(error)[:_STACK_CHARS_MAX],
        "logs": console.take(),
    }
    if known.location:
        head["location"] = known.location
    return head


def described(error):
    if isinstance(error, FunctionError):
        return error
    if isinstance(error, SystemExit):
        code = "" if error.code is None else repr(error.code)
        return FunctionError("FUNCTION_EXITED", f"the function called sys.exit({code})")
    return FunctionError("FUNCTION_THREW", _summary(error))


def _summary(error):
    try:
        return "".join(traceback.format_exception_only(type(error), error)).strip()
    except Exception:
        return f"{type(error).__name__}: the exception cannot be described"


def _stack(error):
    """The traceback from the function's first frame on."""
    if isinstance(error, FunctionError):
        error = error.__cause__
        if error is None:
            return ""
    frames = error.__traceback__
    while frames and os.path.dirname(frames.tb_frame.f_code.co_filename) == _AGENT:
        frames = frames.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except Exception:
        return ""
