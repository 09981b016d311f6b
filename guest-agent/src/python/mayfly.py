"""What Mayfly tells the functions that ask: `import mayfly`."""

_hooks = []


def after_clone(hook):
    """Has `hook(generation)` called in each clone before the function; may be used as a decorator.

    For what must differ between clones and was made while the function was loaded, a random.Random() for example. `hook`
    may be a coroutine function. `generation` is a text that differs in every clone.
    """
    if not callable(hook):
        raise TypeError("mayfly.after_clone wants a function")
    _hooks.append(hook)
    return hook
