"""Generator functions: are they, and which signature do callers see."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def _is_generator_function(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def with_signature(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function whose signature `.delay()` checks arguments against.

    `pydantic=True` wraps the user's function and would hide it. Other decorators stay in place, as
    in Celery: they may pass arguments of their own.
    """
    if getattr(function, "__globals__", {}).get("__name__") == "celery.app.base":
        wrapped: Callable[..., Any] = getattr(function, "__wrapped__", function)
        return wrapped
    return function


def check_generator_function(function: Callable[..., Any]) -> None:
    """Check that `function`, or what it wraps, is a generator function.

    Raises:
        TypeError: it is not.
    """
    plain = inspect.unwrap(function, stop=_is_generator_function)
    if _is_generator_function(plain):
        return
    name = getattr(plain, "__qualname__", repr(plain))
    kind = (
        "a coroutine function" if inspect.iscoroutinefunction(plain) else "not a generator function"
    )
    raise TypeError(
        f"{name} is {kind}: a stream task yields its chunks. Write `yield chunk`, or "
        "`yield from stream` (`async for chunk in stream: yield chunk`); "
        "for a function that returns its result use Celery's own task decorator"
    )
