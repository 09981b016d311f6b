"""The event loop of asynchronous functions: one for the life of the guest, made before the template."""

import asyncio
import selectors
import threading

from .failure import FunctionError

_loop = None


class _Selector(selectors.DefaultSelector):
    """Sees when nothing is left that could wake the loop."""

    def select(self, timeout=None):
        own = 1  # the loop's own pipe
        if timeout is None and len(self.get_map()) <= own and threading.active_count() == 1:
            message = "its coroutine waits, and nothing is left that could wake it"
            raise FunctionError("FUNCTION_STALLED", message)
        return super().select(timeout)


def get():
    global _loop
    if _loop is None:
        _loop = asyncio.SelectorEventLoop(_Selector())
        asyncio.set_event_loop(_loop)
    return _loop


def run(coroutine):
    """Runs a coroutine to its end and gives its result. Raises FunctionError FUNCTION_STALLED."""
    return get().run_until_complete(coroutine)
