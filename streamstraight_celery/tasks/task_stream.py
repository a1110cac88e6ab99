"""What a stream task is told of the attempts before it, and tells the next: `self.stream`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, get_args

from ..errors import ConfigurationError, EncodeError, NoStreamError
from ..relays.requests import Watch
from ..runtime import Runtime
from ..worker.running import running_task

if TYPE_CHECKING:
    from ..enqueue.handle import StreamHandle
    from ..producing.driver import Driver
    from ..producing.interrupts import Ending
    from ..producing.sending import Sending
    from ..producing.writer import StreamWriter
    from .task import StreamTask

P = ParamSpec("P")
OnRedelivery = Literal["restart", "fail", "resume"]


OnLost = Literal["fail", "run"]
RetryWhen = Literal["always", "before-first-chunk"]


def check_retry(value: object) -> None:
    """Check the option.

    Raises:
        ConfigurationError: it is neither of the two.
    """
    if value not in get_args(RetryWhen):
        raise ConfigurationError(
            f"retry={value!r}: use 'always' (a retry begins the stream again) or "
            "'before-first-chunk' (once a chunk was sent, an error ends the stream)"
        )


def check_on_lost(value: object, on_redelivery: object) -> None:
    """Check the option.

    Raises:
        ConfigurationError: it is none of the two, or contradicts `on_redelivery`.
    """
    if value not in get_args(OnLost):
        raise ConfigurationError(
            f"on_lost={value!r}: use 'fail' (a task that is redelivered after its stream was given "
            "up fails) or 'run' (it begins the stream again)"
        )
    if value == "run" and on_redelivery == "fail":
        raise ConfigurationError("on_lost='run' contradicts on_redelivery='fail': drop one of them")


# Seconds. After a restart of the store or a relay server nobody seems to read, until pages are back
# and servers have told of them: a shorter time would stop what is read.
UNWATCHED_AT_LEAST = 15


def check_unwatched(value: object) -> None:
    """Check the option.

    Raises:
        ConfigurationError: it is no number of seconds, or fewer than `UNWATCHED_AT_LEAST`.
    """
    known = (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and value >= UNWATCHED_AT_LEAST
    )
    if value is not None and not known:
        raise ConfigurationError(
            f"unwatched={value!r}: use a number of seconds after which a stream that nobody has "
            f"read is stopped, {UNWATCHED_AT_LEAST} at least, or None"
        )


def check_on_redelivery(value: object) -> None:
    """Check the option.

    Raises:
        ConfigurationError: it is none of the three.
    """
    if value not in get_args(OnRedelivery):
        raise ConfigurationError(
            f"on_redelivery={value!r}: use 'restart' (begin the stream anew), 'fail' (end it) or "
            "'resume' (go on behind self.stream.sent)"
        )


class TaskStream(Generic[P]):
    """`task.stream`: call it to enqueue the task; in a running one it tells of the stream.

    A task with `on_redelivery="resume"` whose process was lost, or that is retried, goes on with
    the chunks that readers have already. Its generator has to yield what follows those.

        @stream_task(bind=True, acks_late=True, reject_on_worker_lost=True, on_redelivery="resume")
        def answer(self, prompt):
            client = OpenAI()
            if self.stream.saved is None:
                events = client.responses.create(..., background=True, stream=True)
            else:
                last = self.stream.sent - 1
                events = client.responses.retrieve(
                    self.stream.saved, stream=True, starting_after=last
                )
            with events:
                for event in events:
                    if event.type == "response.created":
                        self.stream.checkpoint(event.response.id)
                    yield event
    """

    __slots__ = ("_task",)

    def __init__(self, task: StreamTask[P]) -> None:
        self._task = task

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> StreamHandle:
        """Enqueue, as `delay()` does, and return a handle at once.

        Raises:
            TypeError: the arguments do not fit the generator function.
            RelayUnavailableError: the relay does not answer; nothing was enqueued.
            kombu.exceptions.OperationalError: the broker does not answer; the stream was ended.
        """
        return self._task.apply_stream(args, kwargs)

    @property
    def watched(self) -> int:
        """How many read the stream now, on all relay servers; right within a few seconds.

        Raises:
            RelayUnavailableError: the relay does not answer.
        """
        runtime = Runtime.of(self._task._get_app())
        runtime.check_own_relay("watched", "which does not tell")
        return runtime.relay.call(Watch(self._task.stream_id)).number

    @property
    def id(self) -> str:
        """The id of the stream that the current request writes."""
        return self._task.stream_id

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1; 0 outside of a running task."""
        writer = self._writer
        return writer.attempt if writer is not None else 0

    @property
    def sent(self) -> int:
        """How many chunks of earlier attempts this one continues; 0 when it begins anew."""
        writer = self._writer
        return writer.continues if writer is not None else 0

    @property
    def saved(self) -> Any:
        """What the last `checkpoint` of the attempts that this one continues was given, or None."""
        return getattr(self._task.request, "stream_saved", (0, None))[1]

    @property
    def sent_since(self) -> int:
        """How many of the `sent` chunks came after that checkpoint."""
        return self.sent - int(getattr(self._task.request, "stream_saved", (self.sent, None))[0])

    def checkpoint(self, value: Any) -> None:
        """Keep a value for the attempt that continues this one, together with where it was made.

        It is kept once the chunks yielded so far are, so it never tells of more than readers have.
        Of several the last counts. Does nothing outside of a running task.

        Args:
            value: what JSON can say.

        Raises:
            EncodeError: JSON cannot.
            ChunkTooLargeError: larger than `stream_max_chunk_bytes`.
            StreamError: the stream cannot be written any more.
        """
        try:
            text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise EncodeError(f"a checkpoint must be what JSON can say: {error}") from error
        writer = self._writer
        if writer is not None:
            writer.checkpoint(text)

    def send(self, chunk: Any) -> None:
        """Send a chunk now, from any thread: callbacks, tools, helper threads.

        Chunks arrive in the order in which they are sent, and as if they were yielded. While the
        buffer is full (`stream_buffer_chunks`) it waits, but never on an event loop: use `asend`
        there. A chunk that cannot be sent fails the task, also if its error is caught.

        Args:
            chunk: what the task's codec takes.

        Raises:
            StreamStopped: the stream was stopped, or ran into its time limit. After that, in a
                `finally` block for example, last chunks may be sent: 100 in a second at most.
            StreamClosedError: the stream has ended, or waits for a retry.
            NoStreamError: no task runs here.
            EncodeError: the codec cannot encode it.
            ChunkTooLargeError: larger than `stream_max_chunk_bytes`.
            StreamError: the stream cannot be written any more.
        """
        self._sending.send(chunk)

    async def asend(self, chunk: Any) -> None:
        """As `send`, in a coroutine: the event loop runs while the buffer is full."""
        await self._sending.asend(chunk)

    @property
    def ending(self) -> Ending | None:
        """Why the running task is being ended, for its `finally` and `except` blocks.

        `stopped`, `time-limit` (the soft one), `revoked`, `shutdown` (of the worker, as in a
        deploy), `terminated` (its process, by somebody else), `failed` (a chunk cannot be sent
        or written) or `suspended` (it waits without a worker). None while it runs, and when it
        returns or raises an error of its own.
        """
        driver: Driver | None = getattr(self._task.request, "stream_driver", None)
        return driver.ending if driver is not None else None

    @property
    def _sending(self) -> Sending:
        driver: Driver | None = getattr(self._task.request, "stream_driver", None)
        if driver is None or driver.sending is None:
            raise NoStreamError(f"task {self._task.name} does not run here: nothing can be sent")
        driver.sends = True
        return driver.sending

    @property
    def _writer(self) -> StreamWriter | None:
        found: StreamWriter | None = getattr(self._task.request, "stream_writer", None)
        return found


def current_stream() -> TaskStream[Any]:
    """The stream of the task that runs here: its `self.stream`, where `self` is not at hand.

    Callbacks, tools, coroutines, `asyncio.to_thread` and executors that copy the context find it. A
    plain thread does not: give it `self.stream`, or start it with
    `contextvars.copy_context().run`.

    Raises:
        NoStreamError: no stream task runs here, or this is a plain thread.
    """
    task: Any = running_task()
    if task is None:
        raise NoStreamError(
            "no stream task runs in this context. In a thread that the task has started, use the "
            "task's self.stream, or start the thread with contextvars.copy_context().run"
        )
    return TaskStream(task)
