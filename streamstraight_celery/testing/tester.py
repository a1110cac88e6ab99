"""Runs stream tasks in this process, against a relay in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import count
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

from celery import Celery

from ..codecs import Codec, get_codec
from ..errors import DecodeError
from ..reader.decoding import make_decode, name_of
from ..relays import options
from ..relays.end_reasons import GOOD_ENDS
from ..relays.memory.relay import name_store
from ..relays.memory.store import MemoryStore
from ..relays.requests import Create, Read, Reap
from ..runtime import Runtime
from ..settings import StreamSettings, install_settings, read_settings, this_app
from ..tasks.task import StreamTask
from .clock import FakeClock
from .faults import Faults, FaultyRelay

P = ParamSpec("P")
T = TypeVar("T")

PAGE = 1000
# Seconds until a task gives up on a relay that is down: no test wants to wait for long.
RELAY_TIMEOUT = 0.2

_names = count(1)


@dataclass(frozen=True, slots=True)
class StreamRun(Generic[T]):
    """What became of a stream.

    Attributes:
        stream_id: its id.
        chunks: what readers have got, decoded.
        end_reason: `completed`, `stopped`, `producer-error`, ...; `""` while it is open.
        error: the error that readers see (`{"code", "message"}`), or None.
        attempt: how often a producer has claimed it.
        result: the task's result: what the generator returned, or its summary.
        exception: what the task raised, or None.
    """

    stream_id: str
    chunks: list[T]
    end_reason: str
    error: dict[str, Any] | None
    attempt: int
    result: Any = None
    exception: BaseException | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """All chunks that are strings, joined."""
        return "".join([chunk for chunk in self.chunks if isinstance(chunk, str)])

    def completed(self) -> list[T]:
        """The chunks of a stream that completed.

        Raises:
            AssertionError: it did not; the task's own exception is its cause.
        """
        self._assert_ended("completed")
        return self.chunks

    def stopped(self) -> list[T]:
        """The chunks of a stream that was stopped.

        Raises:
            AssertionError: it was not.
        """
        self._assert_ended("stopped")
        return self.chunks

    def failed(self, code: str | None = None) -> dict[str, Any]:
        """The error that readers of a failed stream see.

        Raises:
            AssertionError: it did not fail, or with another code.
        """
        if not self.end_reason or self.end_reason in GOOD_ENDS:
            raise AssertionError(f"the stream did not fail: {self._shown()}") from self.exception
        found = self.error or {"code": self.end_reason}
        if code is not None and found["code"] != code:
            raise AssertionError(f"it failed with {found['code']!r}, not {code!r}")
        return found

    def _assert_ended(self, reason: str) -> None:
        if self.end_reason != reason:
            raise AssertionError(f"the stream is not {reason}: {self._shown()}") from self.exception

    def _shown(self) -> str:
        end = self.end_reason or "still open"
        return f"{end}, {len(self.chunks)} chunk(s), error {self.error}"


class StreamTester:
    """A relay in memory for the streams of a Celery app, while it is entered.

    Args:
        app: the Celery app; default: the current one.
        type: what each chunk is, checked (anything pydantic's `TypeAdapter` accepts).
        stop_after: as `Faults`, in chunks; so are the next two.
        relay_down_after: as `Faults`.
        lose_answer_after: as `Faults`.
        clock: the relay's time, which stands still until it is moved.
        **settings: `stream_*` settings without their prefix, such as `ttl=60`.
    """

    def __init__(
        self,
        app: Celery | None = None,
        *,
        type: Any = None,
        stop_after: int | None = None,
        relay_down_after: int | None = None,
        lose_answer_after: int | None = None,
        clock: FakeClock | None = None,
        **settings: Any,
    ) -> None:
        self.app = this_app(app)
        self.clock = clock or FakeClock()
        defaults = {
            "relay_url": f"memory://testing-{next(_names)}",
            "relay_timeout": RELAY_TIMEOUT,
            "buffer_chunks": 1,  # a generator is never far ahead of what readers see
        }
        self.settings = replace(read_settings(self.app), **{**defaults, **settings})
        faults = Faults(stop_after, relay_down_after, lose_answer_after)
        store = MemoryStore(options(self.settings), self.clock)
        # For readers and a mounted relay server, which open the store by its URL.
        name_store(self.settings.relay_url, store)
        self.relay = FaultyRelay(store, faults)
        self._type = type
        self._runtime = Runtime(self.settings, self.relay)
        self._before: Runtime | None = None
        self._settings_before: StreamSettings | None = None

    def __enter__(self) -> StreamTester:
        self._before = Runtime.install(self.app, self._runtime)
        self._settings_before = install_settings(self.app, self.settings)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        Runtime.install(self.app, self._before)
        install_settings(self.app, self._settings_before)
        self._runtime.close()

    def run(self, task: StreamTask[P], *args: P.args, **kwargs: P.kwargs) -> StreamRun[Any]:
        """Run a task to its end, retries included, and return what readers have got."""
        stream_id = f"test-{next(_names)}"
        codec = task.codec_in(self._runtime)
        self.relay.call(Create(stream_id, stream_id, codec.kind))
        done = task.apply(args, kwargs, task_id=stream_id)
        raised = done.result if isinstance(done.result, BaseException) else None
        found = self.read(stream_id, codec=codec)
        return replace(found, result=None if raised else done.result, exception=raised)

    def read(self, stream_id: str, *, codec: Codec | str | None = None) -> StreamRun[Any]:
        """What readers have of a stream that your own code asked for.

        Args:
            stream_id: the stream.
            codec: what its chunks were encoded by; default: the app's.

        Raises:
            StreamNotFoundError: there is none, or it has expired.
            DecodeError: a chunk is not of the type that was asked for.
        """
        known = codec if isinstance(codec, Codec) else get_codec(codec or self.settings.codec)
        state = self.relay.state(stream_id)
        return StreamRun(
            stream_id,
            self._decoded(stream_id, known),
            state.end,
            json.loads(state.error) if state.error else None,
            state.attempt,
        )

    def lose_producer(self, stream_id: str) -> StreamRun[Any]:
        """What readers are told when the worker of an open stream has died for good.

        A relay that was down answers again.
        """
        self.relay.relay_up()
        # The relay says how long it still waits: for the lease, then for who was given notice.
        while (answer := self.relay.call(Reap(stream_id))).kind == "alive":
            self.clock.advance(answer.retry_in_ms / 1000)
        return self.read(stream_id)

    def _decoded(self, stream_id: str, codec: Codec) -> list[Any]:
        check = None if self._type is None else make_decode(self._type, None)
        chunks = []
        for seq, text in enumerate(self._texts(stream_id), 1):
            value = json.loads(text)
            if check is not None:
                try:
                    value = check(value, text)
                except ValueError as error:  # pydantic's and msgspec's are
                    wanted = name_of(self._type)
                    raise DecodeError(stream_id, seq, wanted, str(error)) from error
            elif codec.kind != "json":
                value = codec.decode(value)
            chunks.append(value)
        return chunks

    def _texts(self, stream_id: str) -> list[str]:
        found: list[str] = []
        while True:
            state = self.relay.state(stream_id)
            page = self.relay.read(Read(stream_id, state.attempt, len(found), PAGE))
            if page is None or not page.entries:
                return found
            for entry in page.entries:
                found += entry.data.decode().split("\n")
