"""What a stream task is told of the attempts before it, and tells the next: `self.stream`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, get_args

from ..errors import ConfigurationError, EncodeError

if TYPE_CHECKING:
    from ..enqueue.handle import StreamHandle
    from ..producing.writer import StreamWriter
    from .task import StreamTask

P = ParamSpec("P")
OnRedelivery = Literal["restart", "fail", "resume"]


OnLost = Literal["fail", "run"]


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

    @property
    def _writer(self) -> StreamWriter | None:
        found: StreamWriter | None = getattr(self._task.request, "stream_writer", None)
        return found
