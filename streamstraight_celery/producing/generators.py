"""Generator functions (are they, which signature do callers see), and closing generators."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

# How many chunks a generator that is being closed may go on to yield until it is left as it is.
MOST_LAST_CHUNKS = 100


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


def close_generator(chunks: Any) -> None:
    """Close a generator, or an iterator that can be closed.

    One that yields meanwhile, as in a `finally` block, gets to its end all the same; what it yields
    is dropped, with a warning.

    Raises:
        Exception: what its clean-up raises.
    """
    close = getattr(chunks, "close", None)
    if close is None:
        return
    try:
        close()
    except RuntimeError:
        if getattr(chunks, "gi_frame", None) is None:
            raise  # it has ended, with an error of its own
        _warn(chunks)
        # Not closed once more: that would skip the rest of the block that yielded.
        try:
            for _ in range(MOST_LAST_CHUNKS):
                next(chunks)
        except (StopIteration, GeneratorExit):
            return
        raise


async def aclose_generator(chunks: Any) -> None:
    """As `close_generator`, for an async one."""
    close = getattr(chunks, "aclose", None)
    if close is None:
        return
    try:
        await close()
    except RuntimeError:
        if getattr(chunks, "ag_frame", None) is None:
            raise
        _warn(chunks)
        try:
            for _ in range(MOST_LAST_CHUNKS):
                await anext(chunks)
        except (StopAsyncIteration, GeneratorExit):
            return
        raise


def _warn(chunks: Any) -> None:
    log.warning(
        "%s yields while it is closed, as in a `finally` block: what it yields then is dropped",
        getattr(chunks, "__qualname__", repr(chunks)),
    )
