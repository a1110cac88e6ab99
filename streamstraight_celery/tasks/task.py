"""`StreamTask` and `@stream_task`: a generator function as a Celery task that streams.

The generator is driven in `run`, which Celery's own machinery (`autoretry_for`, `@app.task`
annotations, `pydantic=True`) wraps. How the stream ends is decided in `__call__`, outside of that:
only there is it known whether an error means a retry.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, Literal, ParamSpec, overload

from celery import Task, shared_task
from celery.signals import worker_process_init
from celery.utils import uuid
from celery.utils.functional import head_from_fun

from ..codecs import Codec, get_codec
from ..conversations.membership import began_event, inherit
from ..ends.on_end import check_on_end
from ..enqueue.announcing import announce_task, note_options, withdrawn_on_error
from ..enqueue.by_name import last_task_of
from ..enqueue.conversations import Conversation, IfActive, conversation_name
from ..enqueue.enqueueing import enqueue
from ..enqueue.handle import StreamHandle
from ..errors import ConfigurationError
from ..ids import CONVERSATION_HEADER, STREAM_ID_HEADER, TTL_HEADER, check_own_stream_id
from ..producing.generators import check_generator_function, with_signature
from ..producing.interrupts import ignore_interrupts
from ..relays.about import check_ttl
from ..runtime import Runtime
from ..worker import metrics, register_remote_control, telemetry
from ..worker.attempt import run_attempt, settle, tell_application
from ..worker.conversation import tell_conversation
from ..worker.tracing import carry
from . import sweep_task as _sweep  # registers the task `streams.sweep`
from .app_class import BaseTask, WithAppTask
from .task_conversation import TaskConversation
from .task_stream import (
    OnLost,
    OnRedelivery,
    RetryWhen,
    TaskStream,
    check_on_lost,
    check_on_redelivery,
    check_retry,
    check_unwatched,
)

if TYPE_CHECKING:
    from celery.result import AsyncResult

P = ParamSpec("P")
Chunks = Iterator[Any] | AsyncIterator[Any]

worker_process_init.connect(ignore_interrupts, weak=False)
metrics.install()
register_remote_control()
__all__ = ["StreamTask", "stream_task"]
assert _sweep


class StreamTask(BaseTask, Generic[P], metaclass=WithAppTask):  # type: ignore[misc]
    """Base class of stream tasks: `@app.task(base=StreamTask)`, or subclass it with a `run`.

    Attributes:
        codec: name of a registered codec, or a `Codec`; default `stream_codec`.
        encoder: a function from chunk to `str`, instead of a codec.
        on_redelivery: what happens when the process that ran the task was lost and the task comes
            again: `restart` (readers are told to begin anew), `fail` (the stream ends as
            `producer-disconnected`), `resume` (the log goes on; see `TaskStream`).
        on_lost: what happens when it comes only after its stream was given up as
            `producer-disconnected`: `fail` (the task fails with StreamClosedError), `run` (it runs
            as the next attempt, which new readers get).
        retry_when: the option `retry`: `always`, or `before-first-chunk`: once a chunk was sent, an
            error ends the task and its stream, and is not retried.
        sends: it sends its chunks with `self.stream.send()`, and may be a plain function, or a
            coroutine function, whose result is the task's.
        on_end: a Celery task, or its name, that is enqueued with a `StreamEnd` once the stream has
            ended, at least once; default `stream_on_end`, and "" for none.
        ttl: seconds that its streams are kept after their end; default `stream_ttl`.
        unwatched: seconds (15 at least) after which a running stream that nobody has read is
            stopped. Only those who read from relay servers and own routes count. Default: it goes
            on.
    """

    abstract = True
    # A stream runs for long. And a worker that hears of another one's task being revoked takes it
    # for one that has not begun, and stores REVOKED, unless its state is STARTED.
    track_started = True
    Request = "streamstraight_celery.worker.request:StreamRequest"
    codec: ClassVar[str | Codec | None] = None
    encoder: ClassVar[Any] = None
    on_redelivery: ClassVar[OnRedelivery] = "restart"
    on_lost: ClassVar[OnLost] = "fail"
    retry_when: ClassVar[RetryWhen] = "always"
    sends: ClassVar[bool] = False
    on_end: ClassVar[Any] = None
    ttl: ClassVar[float | None] = None
    unwatched: ClassVar[float | None] = None
    _stream_function: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        encoder = cls.__dict__.get("encoder")
        if encoder is not None and not isinstance(encoder, staticmethod):
            # A plain function in a class would be called with the task as its first argument.
            cls.encoder = staticmethod(encoder)
        get_codec(cls.codec, encoder=cls.encoder)
        if isinstance(when := cls.__dict__.get("retry"), str):
            # An option of `@app.task`, whose options become attributes; it must not hide retry().
            del cls.retry
            cls.retry_when = when  # type: ignore[assignment]
        check_retry(cls.retry_when)
        check_on_redelivery(cls.on_redelivery)
        check_on_lost(cls.on_lost, cls.on_redelivery)
        check_on_end(cls.on_end)
        check_ttl(cls.ttl)
        check_unwatched(cls.unwatched)
        function = cls.__dict__.get("run")
        if function is None:
            return
        bound = not isinstance(function, staticmethod)
        plain = function if bound else function.__func__
        if not cls.sends:
            check_generator_function(plain)
        cls._stream_function = function
        cls.run = _run_like(plain, bound)
        header: Any = head_from_fun(with_signature(plain), bound=bound)
        cls.__header__ = staticmethod(header)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        # In a running task: what it keeps on itself, such as a client, is for its next runs too.
        if (task := self.__dict__.get("_stream_runs")) is not None:
            setattr(task, name, value)

    # -- enqueueing

    @property
    def stream(self) -> TaskStream[P]:
        """`task.stream(...)` enqueues it; in a running task, `self.stream` tells of its stream."""
        return TaskStream(self)

    def apply_stream(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        stream_id: str | None = None,
        replace: bool = False,
        labels: Mapping[str, str] | None = None,
        ttl: float | None = None,
        conversation: str | None = None,
        key: str | None = None,
        if_active: IfActive = "reject",
        title: str | None = None,
        on_commit: bool | str = False,
        **options: Any,
    ) -> StreamHandle:
        """Enqueue, as `apply_async()` does, and return a handle at once.

        Args:
            args: positional arguments.
            kwargs: keyword arguments.
            stream_id: name of the stream; default: the task's id.
            replace: a stream of that name that has ended makes way for this one.
            labels: what it can be found by (`list_streams`), such as `{"user": "42"}`.
            ttl: seconds that it is kept after its end; default: the task's `ttl`.
            conversation: name of the one that the stream belongs to, with one active stream at
                most, beside the children that tasks of the same conversation start.
            key: another name of `conversation`.
            if_active: what to do when it has one: `reject` (an error), `join` (return that one and
                enqueue nothing), `replace` (stop that one) or `enqueue` (begin once that one, and
                all that were enqueued before, have ended, however they ended).
            title: what readers of the conversation are shown, such as the agent's role.
            on_commit: enqueue when Django's transaction commits (a string names the database); a
                rollback ends the stream.
            **options: Celery's own, such as `countdown`, `queue`, `task_id`, `headers`.

        Raises:
            StreamExistsError: another task's stream has that name.
            StreamActiveError: the conversation has an active stream.
            ConfigurationError: the name cannot stand in a URL, or an option is wrong.
            Exception: as `stream`.
        """
        headers = dict(options.pop("headers", None) or {})
        if stream_id is not None:
            headers[STREAM_ID_HEADER] = check_own_stream_id(stream_id)
        note_options(headers, replace, labels, self.ttl if ttl is None else ttl)
        name = conversation_name(conversation, key)
        if name is not None or on_commit:
            options["headers"] = headers
            belongs = None if name is None else Conversation(self._get_app(), name)
            return enqueue(self, args, kwargs, options, belongs, if_active, on_commit, title)
        result = self.apply_async(args, kwargs, headers=headers, **options)
        announced = str(headers.get(STREAM_ID_HEADER) or result.id)
        app = self._get_app()
        return StreamHandle(app, Runtime.of(app), announced, result)

    async def astream(self, *args: P.args, **kwargs: P.kwargs) -> StreamHandle:
        """As `stream`, without blocking the event loop."""
        return await self.aapply_stream(args, kwargs)

    async def aapply_stream(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> StreamHandle:
        """As `apply_stream`, with the same options, without blocking the event loop.

        Raises:
            ConfigurationError: `on_commit=`: transactions belong to a thread, so Django's async
                views call `sync_to_async(task.apply_stream)(..., on_commit=True)`.
            Exception: as `apply_stream`.
        """
        if options.get("on_commit"):
            raise ConfigurationError(
                "on_commit= waits for a transaction of the calling thread: use "
                "sync_to_async(task.apply_stream)(..., on_commit=True)"
            )
        return await asyncio.to_thread(self.apply_stream, args, kwargs, **options)

    def stream_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> StreamHandle:
        """As `stream`, but enqueue when Django's transaction commits; a rollback ends the stream.

        The stream is announced at once, so the handle can be handed out.

        Raises:
            Exception: as `stream`; when the broker does not answer, whoever commits gets its error.
            MissingDependencyError: Django is not installed.
        """
        return self.apply_stream(args, kwargs, on_commit=True)

    @property
    def conversation(self) -> TaskConversation[P]:
        """In a running task, its conversation; `task.conversation(key)` enqueues it in one."""
        return TaskConversation(self)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        *positional: Any,
        stream_announced: bool = False,
        **options: Any,
    ) -> AsyncResult:
        """As Celery's; the stream is announced to the relay first.

        The arguments are not shown in events, logs or Flower unless `stream_show_arguments` is set.
        `stream_announced` is for callers that have announced the stream, and withdraw it.

        Raises:
            ConfigurationError: the stream's name, or the task's id, cannot stand in a URL.
            Exception: as `stream`.
        """
        task_id = task_id or uuid()
        runtime = Runtime.of(self._get_app())
        stream_id = (options.get("headers") or {}).get(STREAM_ID_HEADER) or task_id
        if not runtime.settings.show_arguments:
            # Not setdefault: a retry brings those of the attempt before along.
            options["argsrepr"] = "()"
            options["kwargsrepr"] = repr({"stream_id": stream_id})
        options["headers"] = headers = dict(options.get("headers") or {})
        carry(headers)
        if self.ttl is not None:
            headers.setdefault(TTL_HEADER, self.ttl)
        if self.typing:
            self.__header__(*(args or ()), **(kwargs or {}))
        # A retry's stream is known already, and a relay that is away must not lose the retry.
        again = task_id == self.request.id
        if not again:
            # The task's own id may be a name that no reader can ask for.
            check_own_stream_id(stream_id)
            if not stream_announced:
                inherit(headers, stream_id)
        created = not (again or stream_announced) and announce_task(
            self, runtime, stream_id, task_id, options
        )
        with withdrawn_on_error(runtime, stream_id) if created else contextlib.nullcontext():
            if created and (name := headers.get(CONVERSATION_HEADER)):
                event = began_event(stream_id, self, task_id, headers, None)
                Conversation(self._get_app(), name).began(stream_id, event)
            return super().apply_async(args, kwargs, task_id, *positional, **options)

    def retry(
        self, args: Any = None, kwargs: Any = None, exc: Any = None, *rest: Any, **options: Any
    ) -> Any:
        """As Celery's, whose error after the last retry shows the arguments.

        With `retry="before-first-chunk"` an error is final once a chunk was sent: it is raised.
        """
        hidden = f"Can't retry {self.name}[{self.request.id}]"
        if self.retries_no_more:
            # Not by max_retries=0, which Celery would keep for the next run of this task.
            raise exc or sys.exc_info()[1] or self.MaxRetriesExceededError(hidden)
        try:
            return super().retry(args, kwargs, exc, *rest, **options)
        except self.MaxRetriesExceededError as error:
            if not Runtime.of(self._get_app()).settings.show_arguments:
                error.args = (hidden,)
            raise

    def replace(self, sig: Any) -> Any:
        """As Celery's; a stream task that takes this one's place goes on with the same stream.

        When it is taken by another task, the stream is complete.
        """
        heir = last_task_of(sig)
        # One that only other workers know may be a stream task.
        if heir is not None and isinstance(self.app.tasks.get(heir["task"], self), StreamTask):
            self.request.stream_replaced = _goes_on(heir, self.stream_id)
        return super().replace(sig)

    # -- running

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """In a worker: run the task. Called directly: return the generator, for your tests."""
        request = self.request
        if request.called_directly or getattr(request, "stream_writer", None) is not None:
            return self._stream_function(*args, **kwargs)
        # The app's own task class (`task_cls`) may do something around each task, such as Flask's
        # application context; Celery's would push another request.
        around = super().__call__
        inner = self.run if getattr(around, "__func__", None) is Task.__call__ else around
        try:
            result = inner(*args, **kwargs)
        except BaseException as error:
            settle(self, error)
            telemetry.end(self)
            tell_conversation(self)
            # A process that goes down has no time for it: its parent process does it.
            if isinstance(error, Exception):
                tell_application(self)
            raise
        else:
            telemetry.end(self)
            tell_conversation(self)
            tell_application(self)
            return result

    @property
    def retries_no_more(self) -> bool:
        """Whether an error is final now, because readers have chunks already."""
        writer = getattr(self.request, "stream_writer", None)
        return (
            self.retry_when == "before-first-chunk"
            and writer is not None
            and writer.chunks + writer.continues > 0
        )

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


def _goes_on(heir: Any, stream_id: str) -> bool:
    """Tell the heir, a stream task, which stream is its; False when it has one of its own."""
    options = heir["options"]
    options["headers"] = headers = dict(options.get("headers") or {})
    return bool(headers.setdefault(STREAM_ID_HEADER, stream_id) == stream_id)


@overload
def stream_task(function: Callable[P, Chunks], /) -> StreamTask[P]: ...


@overload
def stream_task(
    *,
    bind: Literal[True],
    on_redelivery: OnRedelivery = "restart",
    on_lost: OnLost = "fail",
    retry: RetryWhen = "always",
    sends: Literal[False] = False,
    on_end: Task | str | None = None,
    **options: Any,
) -> Callable[[Callable[Concatenate[Any, P], Chunks]], StreamTask[P]]: ...


@overload
def stream_task(
    *,
    sends: Literal[True],
    on_end: Task | str | None = None,
    bind: Literal[True],
    on_redelivery: OnRedelivery = "restart",
    on_lost: OnLost = "fail",
    retry: RetryWhen = "always",
    **options: Any,
) -> Callable[[Callable[Concatenate[Any, P], Any]], StreamTask[P]]: ...


@overload
def stream_task(
    *,
    sends: Literal[True],
    on_end: Task | str | None = None,
    bind: Literal[False] = False,
    on_redelivery: OnRedelivery = "restart",
    on_lost: OnLost = "fail",
    retry: RetryWhen = "always",
    **options: Any,
) -> Callable[[Callable[P, Any]], StreamTask[P]]: ...


@overload
def stream_task(
    *,
    bind: Literal[False] = False,
    on_redelivery: OnRedelivery = "restart",
    on_lost: OnLost = "fail",
    retry: RetryWhen = "always",
    sends: Literal[False] = False,
    on_end: Task | str | None = None,
    **options: Any,
) -> Callable[[Callable[P, Chunks]], StreamTask[P]]: ...


def stream_task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Turn a generator function into a Celery task that streams what it yields.

    Needs no app (as `shared_task`); with one, `@app.task(base=StreamTask)` is the same.

    Args:
        function: a sync or async generator function, when used without parentheses.
        **options: `codec` or `encoder`, `on_redelivery`, `on_lost`, `on_end`, `retry`
            (`before-first-chunk`: an error after that is not retried), `sends`, `ttl`, `unwatched`,
            and all that `@app.task` takes: `bind`, `name`, `acks_late`, `rate_limit`, ...

    Raises:
        TypeError: not a generator function (nor, with `sends=True`, a function), or `base` is not
            a `StreamTask`.
        ConfigurationError: an unknown codec, or a wrong `on_redelivery`, `on_lost` or `retry`.
    """
    base = options.setdefault("base", StreamTask)
    if not (isinstance(base, type) and issubclass(base, StreamTask)):
        name = getattr(base, "__name__", "Base")
        raise TypeError(
            f"base={base!r} must be a subclass of StreamTask: write "
            f"class X(StreamTask, {name}), with `abstract = True`, and give base=X"
        )
    get_codec(options.get("codec"), encoder=options.get("encoder"))
    if "on_redelivery" in options:
        check_on_redelivery(options["on_redelivery"])
    if "retry" in options:
        options["retry_when"] = options.pop("retry")
        check_retry(options["retry_when"])
    check_ttl(options.get("ttl"))
    check_unwatched(options.get("unwatched"))
    if "on_lost" in options:
        check_on_lost(options["on_lost"], options.get("on_redelivery"))
    check_on_end(options.get("on_end"))

    sends = options.get("sends", base.sends)

    def decorate(function: Callable[..., Any]) -> Any:
        if not sends:
            check_generator_function(function)
        return shared_task(**options)(function)

    return decorate if function is None else decorate(function)
