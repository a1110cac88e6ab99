"""`StreamTask` and `@stream_task`: a generator function as a Celery task that streams.

The generator is driven in `run`, which Celery's own machinery (`autoretry_for`, `@app.task`
annotations, `pydantic=True`) wraps. How the stream ends is decided in `__call__`, outside of that:
only there is it known whether an error means a retry.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    overload,
)

from celery import Task, shared_task
from celery.signals import worker_process_init
from celery.utils import uuid
from celery.utils.functional import head_from_fun

from . import control as _control  # registers the remote control command
from .attempt import run_attempt, settle
from .codecs import Codec, get_codec
from .driver import ignore_interrupts
from .handle import StreamHandle, announce
from .names import STREAM_ID_HEADER, check_stream_id
from .relays.base import Create, Stop
from .runtime import Runtime

if TYPE_CHECKING:
    from celery.result import AsyncResult

try:
    # A custom base class would take delay_on_commit() away from Django's users.
    from celery.contrib.django.task import DjangoTask as _BaseTask
except ImportError:
    _BaseTask = Task

P = ParamSpec("P")
Chunks = Iterator[Any] | AsyncIterator[Any]

worker_process_init.connect(ignore_interrupts, weak=False)
__all__ = ["StreamTask", "stream_task"]
assert _control


class StreamTask(_BaseTask, Generic[P]):  # type: ignore[misc]
    """Base class of stream tasks: `@app.task(base=StreamTask)`, or subclass it with a `run`.

    Attributes:
        codec: name of a registered codec, or a `Codec`; default `stream_codec`.
        encoder: a function from chunk to `str`, instead of a codec.
    """

    abstract = True
    Request = "streamstraight_celery.control:StreamRequest"
    codec: ClassVar[str | Codec | None] = None
    encoder: ClassVar[Any] = None
    _stream_function: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        encoder = cls.__dict__.get("encoder")
        if encoder is not None and not isinstance(encoder, staticmethod):
            # A plain function in a class would be called with the task as its first argument.
            cls.encoder = staticmethod(encoder)
        get_codec(cls.codec, encoder=cls.encoder)
        function = cls.__dict__.get("run")
        if function is None:
            return
        bound = not isinstance(function, staticmethod)
        plain = function if bound else function.__func__
        check_generator_function(plain)
        cls._stream_function = function
        cls.run = _run_like(plain, bound)
        header: Any = head_from_fun(_with_signature(plain), bound=bound)
        cls.__header__ = staticmethod(header)

    # -- enqueueing

    def stream(self, *args: P.args, **kwargs: P.kwargs) -> StreamHandle:
        """Enqueue, as `delay()` does, and return a handle at once.

        Raises:
            TypeError: the arguments do not fit the generator function.
            RelayUnavailableError: the relay does not answer; nothing was enqueued.
            kombu.exceptions.OperationalError: the broker does not answer; the stream was ended.
        """
        return self.apply_stream(args, kwargs)

    def apply_stream(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        stream_id: str | None = None,
        **options: Any,
    ) -> StreamHandle:
        """Enqueue, as `apply_async()` does, and return a handle at once.

        Args:
            args: positional arguments.
            kwargs: keyword arguments.
            stream_id: name of the stream; default: the task's id.
            **options: Celery's own, such as `countdown`, `queue`, `task_id`, `headers`.

        Raises:
            StreamExistsError: another task's stream has that name.
            ConfigurationError: the name cannot stand in a URL.
            Exception: as `stream`.
        """
        headers = dict(options.pop("headers", None) or {})
        if stream_id is not None:
            headers[STREAM_ID_HEADER] = check_stream_id(stream_id)
        result = self.apply_async(args, kwargs, headers=headers, **options)
        name = str(headers.get(STREAM_ID_HEADER) or result.id)
        app = self._get_app()
        return StreamHandle(app, Runtime.of(app), name, result)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        *positional: Any,
        **options: Any,
    ) -> AsyncResult:
        """As Celery's; the stream is announced to the relay first.

        The arguments are not shown in events, logs or Flower unless `stream_show_arguments` is set.
        """
        task_id = task_id or uuid()
        runtime = Runtime.of(self._get_app())
        stream_id = (options.get("headers") or {}).get(STREAM_ID_HEADER) or task_id
        if not runtime.settings.show_arguments:
            # Not setdefault: a retry brings those of the attempt before along.
            options["argsrepr"] = "()"
            options["kwargsrepr"] = repr({"stream_id": stream_id})
        if self.typing:
            self.__header__(*(args or ()), **(kwargs or {}))
        # A retry's stream is known already, and a relay that is away must not lose the retry.
        again = task_id == self.request.id
        create = Create(stream_id, task_id, self.codec_in(runtime).kind)
        created = not again and announce(runtime, create)
        try:
            return super().apply_async(args, kwargs, task_id, *positional, **options)
        except BaseException:
            if created:
                runtime.relay.execute([Stop(stream_id)])
            raise

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        """As Celery's, whose error after the last retry shows the arguments."""
        try:
            return super().retry(*args, **kwargs)
        except self.MaxRetriesExceededError as error:
            if not Runtime.of(self._get_app()).settings.show_arguments:
                error.args = (f"Can't retry {self.name}[{self.request.id}]",)
            raise

    def replace(self, sig: Any) -> Any:
        """As Celery's; the task that takes this one's place goes on with the same stream."""
        self.request.stream_replaced = True
        return super().replace(sig)

    # -- running

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """In a worker: run the task. Called directly: return the generator, for your tests."""
        request = self.request
        if request.called_directly or getattr(request, "stream_writer", None) is not None:
            return self._stream_function(*args, **kwargs)
        try:
            return self.run(*args, **kwargs)
        except BaseException as error:
            settle(self, error)
            raise

    @property
    def stream_id(self) -> str:
        """The id of the stream that the current request writes."""
        request = self.request
        headers = request.headers or {}
        return str(
            headers.get(STREAM_ID_HEADER) or getattr(request, STREAM_ID_HEADER, None) or request.id
        )

    def codec_in(self, runtime: Runtime) -> Codec:
        """The codec that this task uses."""
        name = self.codec if self.codec is not None or self.encoder else runtime.settings.codec
        return get_codec(name, encoder=self.encoder)


def _is_generator_function(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _with_signature(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function whose signature `.delay()` checks arguments against.

    `pydantic=True` wraps the user's function and would hide it. Other decorators stay in place, as
    in Celery: they may pass arguments of their own.
    """
    if getattr(function, "__globals__", {}).get("__name__") == "celery.app.base":
        wrapped: Callable[..., Any] = getattr(function, "__wrapped__", function)
        return wrapped
    return function


def _run_like(function: Callable[..., Any], bound: bool) -> Callable[..., Any]:
    """A `run` that shows the function's signature, by which `retry()` merges changed arguments."""

    def run(self: StreamTask[Any], *args: Any, **kwargs: Any) -> Any:
        return run_attempt(self, *args, **kwargs)

    signature = inspect.signature(function)
    if not bound:
        task = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        signature = inspect.Signature([task, *signature.parameters.values()])
    # Not functools.wraps: Celery's annotations unwrap what has __wrapped__, and lose the driver.
    run.__signature__ = signature  # type: ignore[attr-defined]
    return run


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


@overload
def stream_task(function: Callable[P, Chunks], /) -> StreamTask[P]: ...


@overload
def stream_task(
    *, bind: Literal[True], **options: Any
) -> Callable[[Callable[Concatenate[Any, P], Chunks]], StreamTask[P]]: ...


@overload
def stream_task(
    *, bind: Literal[False] = False, **options: Any
) -> Callable[[Callable[P, Chunks]], StreamTask[P]]: ...


def stream_task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Turn a generator function into a Celery task that streams what it yields.

    Needs no app (as `shared_task`); with one, `@app.task(base=StreamTask)` is the same.

    Args:
        function: a sync or async generator function, when used without parentheses.
        **options: `codec` or `encoder`, and everything `@app.task` takes: `bind`, `name`, `queue`,
            `acks_late`, `autoretry_for`, `rate_limit`, `soft_time_limit`, `pydantic`, ...

    Raises:
        TypeError: not a generator function, or `base` is not a `StreamTask`.
        ConfigurationError: an unknown codec.
    """
    base = options.setdefault("base", StreamTask)
    if not (isinstance(base, type) and issubclass(base, StreamTask)):
        raise TypeError(f"base={base!r} must be a subclass of StreamTask")
    get_codec(options.get("codec"), encoder=options.get("encoder"))

    def decorate(function: Callable[..., Any]) -> Any:
        check_generator_function(function)
        return shared_task(**options)(function)

    return decorate if function is None else decorate(function)
