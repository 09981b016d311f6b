"""The function's output: lines of stdout, stderr and `logging` are kept and travel with the answer.

Bounded in number and size, so that a loop that logs cannot fill the guest's memory or the frame.
"""

import codecs
import io
import logging
import sys
import time

_LINES_MAX = 256
_LINE_CHARS_MAX = 4096
_CHARS_MAX = 32 * 1024

_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))

_lines = []
_chars = 0
_dropped = 0


def capture():
    """Takes the place of sys.stdout and sys.stderr, and gives the records of `logging` their levels."""
    sys.stdout = _Lines("info")
    sys.stderr = _Lines("error")
    emit_to_stream = logging.StreamHandler.emit

    def emit(handler, record):
        if not isinstance(handler.stream, _Lines):
            return emit_to_stream(handler, record)
        try:
            _keep(_level_of(record.levelno), handler.format(record))
        except Exception:
            handler.handleError(record)

    logging.StreamHandler.emit = emit


def take():
    """Hands over what was written since the last call, as the `logs` of a frame's head."""
    global _lines, _chars, _dropped
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, _Lines):
            stream.end_line()
    taken = _lines
    if _dropped:
        taken.append({"level": "warn", "time": _now(), "text": f"{_dropped} more lines were dropped"})
    _lines, _chars, _dropped = [], 0, 0
    return taken


def _keep(level, text):
    global _chars, _dropped
    if len(_lines) >= _LINES_MAX or _chars >= _CHARS_MAX:
        _dropped += 1
        return
    kept = text if len(text) <= _LINE_CHARS_MAX else text[:_LINE_CHARS_MAX] + "…"
    _chars += len(kept)
    _lines.append({"level": level, "time": _now(), "text": kept})


def _level_of(number):
    return next((name for least, name in _LEVELS if number >= least), "debug")


def _now():
    return time.time() * 1000


class _Lines(io.TextIOBase):
    """A text stream whose lines are kept; what has no end yet waits for it."""

    encoding = "utf-8"
    errors = "strict"

    def __init__(self, level):
        self._level = level
        self._started = ""
        self.buffer = _Bytes(self)

    def writable(self):
        return True

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        *whole, started = (self._started + text).split("\n")
        for line in whole:
            _keep(self._level, line)
        # A line without end costs no more memory than what is kept of it.
        self._started = started[: _LINE_CHARS_MAX + 1]
        return len(text)

    def end_line(self):
        if self._started:
            _keep(self._level, self._started)
            self._started = ""


class _Bytes(io.RawIOBase):
    """sys.stdout.buffer."""

    def __init__(self, lines):
        self._text = lines
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def writable(self):
        return True

    def write(self, data):
        data = bytes(data)
        self._text.write(self._decode(data))
        return len(data)
