"""Generator functions (are they, which signature do callers see), and closing generators."""

from __future__ import annotations

import contextlib
import gc
import inspect
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from types import AsyncGeneratorType, CodeType, FrameType, GeneratorType
from typing import Any

log = logging.getLogger(__name__)

# How many chunks a generator that is being closed may go on to yield until it is left as it is.
MOST_LAST_CHUNKS = 100
# How many generators within each other are looked at.
_DEEPEST = 8
_GENERATORS = (GeneratorType, AsyncGeneratorType)


def _is_generator_function(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def is_generator_function(function: Callable[..., Any]) -> bool:
    """Whether it, or what it wraps, is a sync or async generator function."""
    return _is_generator_function(inspect.unwrap(function, stop=_is_generator_function))


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
    if is_generator_function(function):
        return
    plain = inspect.unwrap(function)
    name = getattr(plain, "__qualname__", repr(plain))
    kind = (
        "a coroutine function" if inspect.iscoroutinefunction(plain) else "not a generator function"
    )
    raise TypeError(
        f"{name} is {kind}: a stream task yields its chunks. Write `yield chunk`, or "
        "`yield from stream` (`async for chunk in stream: yield chunk`); "
        "for a function that sends them with self.stream.send() say sends=True, and for one that "
        "returns its result use Celery's own task decorator"
    )


def calling(call: Callable[[], Any]) -> Generator[Any, None, Any]:
    """A generator that yields nothing, calls, and returns what the call returns."""
    value = call()
    if isinstance(value, _GENERATORS):
        raise TypeError(
            f"{value.__qualname__} was returned, and nobody reads a generator that a task with "
            "sends=True returns: write `yield from`, or leave sends=True out"
        )
    return value
    yield


async def awaiting(
    call: Callable[[], Awaitable[Any]], keep: Callable[[Any], object]
) -> AsyncIterator[Any]:
    """As `calling`, for a coroutine function; what it returns is given to `keep`."""
    keep(await call())
    return
    yield


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
    # Response objects of LLM clients do not close when the generator that reads them is closed.
    responses = _being_read(chunks)
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
    finally:
        for response in responses:
            with contextlib.suppress(Exception):
                response.close()


async def aclose_generator(chunks: Any) -> None:
    """As `close_generator`, for an async one."""
    close = getattr(chunks, "aclose", None)
    if close is None:
        return
    responses = _being_read(chunks)
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
    finally:
        for response in responses:
            with contextlib.suppress(Exception):
                closing = response.close()
                if inspect.isawaitable(closing):
                    await closing


def has_ended(chunks: Any) -> bool:
    """Whether nothing is left to be closed."""
    if not isinstance(chunks, _GENERATORS):
        return not hasattr(chunks, "close") and not hasattr(chunks, "aclose")
    return _frame_of(chunks) is None


def mentions(chunks: Any, name: str) -> bool:
    """Whether the code of a sync generator has that name, in an `except` for example."""
    return isinstance(chunks, GeneratorType) and _has_name(chunks.gi_code, name)


def _has_name(code: CodeType, name: str) -> bool:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return name in code.co_names or any(_has_name(each, name) for each in inner)


def _frame_of(generator: Any) -> FrameType | None:
    frame: FrameType | None = getattr(generator, "gi_frame", None) or getattr(
        generator, "ag_frame", None
    )
    return frame


def _being_read(generator: Any) -> list[Any]:
    """The responses over which a suspended generator iterates, itself or through other generators.

    They are in no variable in `yield from client.create(stream=True)`, but on the frame's stack,
    as iterators: generators with the response as their `self`.
    """
    found: list[Any] = []
    for _ in range(_DEEPEST):
        frame = _frame_of(generator)
        if frame is None:
            break
        on_stack = gc.get_referents(generator if sys.version_info >= (3, 11) else frame)
        for local in frame.f_locals.values():
            index = next((i for i, each in enumerate(on_stack) if each is local), None)
            if index is not None:
                del on_stack[index]
        generator = None
        for each in on_stack:
            if isinstance(each, _GENERATORS):
                generator = each
                inner = _frame_of(each)
                owner = inner.f_locals.get("self") if inner is not None else None
                if _is_response(owner):
                    found.append(owner)
            elif _is_response(each):
                found.append(each)
    return found


def _is_response(found: Any) -> bool:
    """Whether it is iterated over and can be closed; so a client, which others use, is not."""
    kind = type(found)
    iterable = hasattr(kind, "__iter__") or hasattr(kind, "__aiter__")
    return iterable and callable(getattr(kind, "close", None))


def _warn(chunks: Any) -> None:
    log.warning(
        "%s yields while it is closed, as in a `finally` block: what it yields then is dropped",
        getattr(chunks, "__qualname__", repr(chunks)),
    )
