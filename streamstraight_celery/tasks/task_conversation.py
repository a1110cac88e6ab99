"""The conversation of a running task: `self.conversation`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar

from celery.utils import uuid

from ..codecs import utf8
from ..conversations.events import event_bytes, question_id, value_text
from ..conversations.membership import header_of
from ..enqueue.conversations import Conversation, IfActive
from ..enqueue.enqueueing import InConversation
from ..errors import ConfigurationError, InputTimeoutError, NoStreamError, StreamStopped
from ..ids import CONVERSATION_HEADER, PARENT_HEADER
from ..relays.requests import Answer, Post, Receive, Request
from ..runtime import Runtime
from .inputs import Place, Wanted
from .suspending import Timeout, seconds_of, suspend

if TYPE_CHECKING:
    from ..enqueue.handle import StreamHandle
    from ..producing.writer import StreamWriter
    from .task import StreamTask

P = ParamSpec("P")
T = TypeVar("T")
LOOK_EVERY = 1.0  # seconds after which to look for messages, or a stop, without a notice


class TaskConversation(Generic[P]):
    """`self.conversation`: what a running task hears and tells in its conversation.

    `task.conversation("chat-42", if_active="join").stream(prompt)` enqueues the task in one.

        @stream_task(bind=True)
        def agent(self, prompt):
            ...
            approval = self.conversation.ask({"tool": "delete", "path": path}, type=Approval)
            if approval.approved:
                yield from delete(path)
    """

    __slots__ = ("_task",)

    def __init__(self, task: StreamTask[P]) -> None:
        self._task = task

    def __call__(self, key: str, *, if_active: IfActive = "reject") -> InConversation[P]:
        """What to enqueue in the conversation `key`, one at a time: see `apply_stream`."""
        return InConversation(self._task, key, if_active)

    @property
    def name(self) -> str | None:
        """The conversation that the running task belongs to; None: it belongs to none."""
        return header_of(self._task.request, CONVERSATION_HEADER)

    def send(self, value: Any, *, type: str = "input", id: str | None = None) -> str:
        """As `Conversation.send`. The task itself does not receive it.

        A store that is away is asked again, here and below, for `stream_relay_timeout`.
        """
        here, sender, event_id = self._here, self._task.stream_id, uuid() if id is None else id
        return self._patiently(lambda: here.send(value, type=type, id=event_id, _sender=sender))

    async def asend(self, value: Any, *, type: str = "input", id: str | None = None) -> str:
        """As `send`, without blocking the event loop."""
        return await asyncio.to_thread(self.send, value, type=type, id=id)

    def stream(
        self, task: Any, /, *args: Any, title: str | None = None, **kwargs: Any
    ) -> StreamHandle:
        """Enqueue a stream task as a child of this one, and return its handle at once.

        Args:
            task: a stream task.
            *args: its arguments.
            title: what readers are shown of it.
            **kwargs: its keyword arguments.

        Raises:
            Exception: as `StreamTask.stream`.
        """
        headers = {PARENT_HEADER: self._task.stream_id}
        handle: StreamHandle = task.apply_stream(
            args, kwargs, conversation=self._here.name, title=title, headers=headers
        )
        return handle

    def receive(self, *, timeout: Timeout = None, type: Any = None, suspend: bool = False) -> Any:
        """The next message that was sent to the conversation; waits for it.

        Each is received once and in order by the attempts of this stream, and by the tasks of the
        conversation that follow each other. One that does not fit `type` is answered by an event
        `refused`, and the next one is waited for.

        Args:
            timeout: seconds to wait at most, or a `timedelta`; 0: only what is there already.
                None: no limit.
            type: what the value has to be: as `read_stream` takes.
            suspend: wait without a worker: see `suspend`.

        Raises:
            InputTimeoutError: nothing came in time. It is a `TimeoutError`.
            NoStreamError: not in a running task of a conversation.
            StreamStopped: the stream was stopped.
            RelayUnavailableError: the store has not answered for `stream_relay_timeout`.
        """
        return self._wait(self._wanted(type), seconds_of(timeout), suspend)

    async def areceive(
        self, *, timeout: Timeout = None, type: Any = None, suspend: bool = False
    ) -> Any:
        """As `receive`, on an event loop."""
        wanted = await asyncio.to_thread(self._wanted, type)
        return await self._await(wanted, seconds_of(timeout), suspend)

    def suspend(self, *, until: Literal["input"] = "input", timeout: Timeout = None) -> None:
        """Wait for a message without a worker. Returns when there is one to receive.

        If there is none, this delivery of the task ends: `StreamSuspended` is raised, clean-up
        runs, the worker is free. The stream stays open, its readers see the status `waiting`. A
        message, or the end of the time, enqueues the task again; it resumes, as after a retry, and
        comes here once more.

        Args:
            until: what ends it.
            timeout: seconds to wait at most, or a `timedelta`, counted from the first time. None:
                for as long as a conversation is kept (`stream_conversation_ttl`). The sweep sees
                that it is over (`celery streams sweep`).

        Raises:
            InputTimeoutError: nothing came in time. It is a `TimeoutError`.
            ConfigurationError: the task is not declared with `on_redelivery="resume"`.
            StreamSuspended: let it pass, as StreamStopped.
            Exception: as `receive`.
        """
        if until != "input":
            raise ConfigurationError(f"until={until!r}: a task can be suspended until 'input'")
        self._lie_down(self._wanted(None, peeks=True), seconds_of(timeout))

    async def asuspend(self, *, until: Literal["input"] = "input", timeout: Timeout = None) -> None:
        """As `suspend`, on an event loop."""
        await asyncio.to_thread(self.suspend, until=until, timeout=timeout)

    def inputs(self, *, timeout: float | None = None, type: Any = None) -> Iterator[Any]:
        """The messages as they come; ends when none has come for `timeout` seconds."""
        while True:
            try:
                value = self.receive(timeout=timeout, type=type)
            except InputTimeoutError:
                return
            yield value

    async def ainputs(
        self, *, timeout: float | None = None, type: Any = None
    ) -> AsyncIterator[Any]:
        """As `inputs`, for `async for`."""
        while True:
            try:
                value = await self.areceive(timeout=timeout, type=type)
            except InputTimeoutError:
                return
            yield value

    def ask(
        self,
        payload: Any,
        *,
        type: Any = None,
        timeout: Timeout = None,
        id: str | None = None,
        suspend: bool = False,
    ) -> Any:
        """Ask who reads the conversation, and wait for the answer: the first that fits wins.

        Readers see an event `question` with its `id` and the payload as `value`, and answer by
        `send(value, answers=id)`. Later answers are refused. A task that runs again asks the same
        question once, and gets the answer that was given.

        Args:
            payload: what JSON can say.
            type: what the answer has to be.
            timeout: seconds to wait at most, or a `timedelta`; None: no limit.
            id: names the question, by at most 200 printable ASCII characters; default: made of the
                payload, and how often this attempt has asked it. Give one when a task that resumes
                asks the same more than once.
            suspend: wait without a worker: see `suspend`. For people, who may take days.

        Raises:
            InputTimeoutError: nobody answered in time; later answers are refused.
            Exception: as `receive`.
        """
        wanted, question = self._asking(payload, type, id)
        try:
            return self._wait(wanted, seconds_of(timeout), suspend)
        except InputTimeoutError:
            while not self._give_up(question):  # it was answered just now
                before = wanted.seen
                with contextlib.suppress(InputTimeoutError):
                    return self._wait(wanted, 0)
                if wanted.seen == before:  # the answer was lost
                    break
            raise

    async def aask(
        self,
        payload: Any,
        *,
        type: Any = None,
        timeout: Timeout = None,
        id: str | None = None,
        suspend: bool = False,
    ) -> Any:
        """As `ask`, on an event loop."""
        wanted, question = await asyncio.to_thread(self._asking, payload, type, id)
        try:
            return await self._await(wanted, seconds_of(timeout), suspend)
        except InputTimeoutError:
            while not await asyncio.to_thread(self._give_up, question):
                before = wanted.seen
                with contextlib.suppress(InputTimeoutError):
                    return await self._await(wanted, 0)
                if wanted.seen == before:
                    break
            raise

    # -- waiting

    def _lie_down(self, wanted: Wanted, timeout: float | None) -> None:
        """Return when what is wanted is there.

        Raises:
            StreamSuspended: it is not.
        """
        relay = self._runtime.relay
        while True:
            page = self._patiently(lambda: relay.read(wanted.next_read()))
            for refusal in wanted.absorb(page):
                self._call(refusal)
            if wanted.found:
                return
            if wanted.is_done(page):
                self._check()
                suspend(self._task, self._writer, wanted, timeout)

    def _wait(self, wanted: Wanted, timeout: float | None, suspend: bool = False) -> Any:
        from ..reader.log.shared import SharedLog, StoreAccess
        from ..reader.log.sync_io import Bell

        if suspend:
            self._lie_down(wanted, timeout)
            return self._received(wanted)
        deadline = inf if timeout is None else time.monotonic() + timeout
        relay, bell = self._runtime.relay, Bell()
        with contextlib.ExitStack() as stack:
            heard = False
            while True:
                request = wanted.next_read()
                page = self._patiently(functools.partial(relay.read, request))
                for refusal in wanted.absorb(page):
                    self._call(refusal)
                if wanted.found:
                    return self._received(wanted)
                if not wanted.is_done(page):
                    continue
                self._check()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise wanted.timed_out(timeout)
                if heard:
                    bell.wait(min(left, LOOK_EVERY))
                    continue
                # Before the next read: whatever is written after that rings.
                log = SharedLog(StoreAccess(self._runtime.settings))
                stack.callback(log.close)
                self._patiently(functools.partial(log.subscribe, self._here.id, bell.ring))
                heard = True

    async def _await(self, wanted: Wanted, timeout: float | None, suspend: bool = False) -> Any:
        from ..reader.log.shared import SharedAsyncRelay, StoreAccess

        if suspend:
            return await asyncio.to_thread(self._wait, wanted, timeout, suspend)
        deadline = inf if timeout is None else time.monotonic() + timeout
        relay, news = SharedAsyncRelay(StoreAccess(self._runtime.settings)), asyncio.Event()
        patiently = self._runtime.sender.apatiently
        watcher = relay.watch(lambda *_: news.set(), news.set)
        try:
            await patiently(functools.partial(watcher.subscribe, self._here.id))
            while True:
                request = [wanted.next_read()]
                (page,) = await patiently(functools.partial(relay.read, request))
                for refusal in wanted.absorb(page):
                    await patiently(functools.partial(relay.execute, [refusal]))
                if wanted.found:
                    return await asyncio.to_thread(self._received, wanted)
                if not wanted.is_done(page):
                    continue
                self._check()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise wanted.timed_out(timeout)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(news.wait(), min(left, LOOK_EVERY))
                news.clear()
        finally:
            await relay.close()

    def _received(self, wanted: Wanted) -> Any:
        place = self._place
        self._writer.received = place.seq
        # A child receives for itself: the tasks after its parent do not follow it.
        if not self._is_child:
            self._call(Receive(self._here.name, self._task.stream_id, place.seq))
        return wanted.value

    def _patiently(self, ask: Callable[[], T]) -> T:
        return self._runtime.sender.patiently(ask)

    def _call(self, request: Request) -> Answer:
        return self._patiently(functools.partial(self._runtime.relay.call, request))

    def _check(self) -> None:
        """Raise what ends the wait."""
        writer = self._writer
        if writer.stop_asked:
            raise StreamStopped
        writer.check()

    # -- asking

    def _asking(self, payload: Any, kind: Any, id: str | None) -> tuple[Wanted, str]:
        here, asked, text = self._here, self._place.asked, value_text(payload)
        name = id
        if name is None:
            digest = hashlib.sha256(utf8(text)).hexdigest()[:16]
            name = f"{digest}:{asked[digest]}"
            asked[digest] += 1
        question = question_id(self._task.stream_id, name)
        wanted = self._wanted(kind, question)
        fields = {"type": "question", "id": question, "stream_id": self._task.stream_id}
        post = Post(here.name, question, event_bytes(fields, text))
        self._patiently(functools.partial(here.post, post))
        return wanted, question

    def _give_up(self, question: str) -> bool:
        """Take no more answers; False when there is one."""
        here = self._here
        closed = f"closed:{question}"
        event = event_bytes({"type": "closed", "question": question})
        answer = self._call(Post(here.name, closed, event, vital=True, answers=question))
        return answer.kind != "closed"

    def _wanted(self, kind: Any, question: str = "", *, peeks: bool = False) -> Wanted:
        here, writer = self._here, self._writer
        return Wanted(
            here.name, here.id, writer.stream_id, self._place, kind, question,
            sent=writer.continues + writer.chunks, peeks=peeks,
        )  # fmt: skip

    # -- where

    @property
    def _runtime(self) -> Runtime:
        return Runtime.of(self._task._get_app())

    @property
    def _is_child(self) -> bool:
        return header_of(self._task.request, PARENT_HEADER) is not None

    @property
    def _writer(self) -> StreamWriter:
        writer: StreamWriter | None = getattr(self._task.request, "stream_writer", None)
        if writer is None:
            raise NoStreamError("self.conversation receives in a running stream task only")
        return writer

    @property
    def _here(self) -> Conversation:
        name = self.name
        if name is None:
            raise ConfigurationError(
                "this task is in no conversation: enqueue it by conversation.stream(task, ...) or "
                "apply_stream(conversation=...)"
            )
        return Conversation(self._task._get_app(), name)

    @property
    def _place(self) -> Place:
        request, writer = self._task.request, self._writer
        place: Place | None = getattr(request, "stream_place", None)
        if place is None:
            relay = self._runtime.relay
            seq = 0
            if writer.attempt > 1 and self._task.on_redelivery == "resume":
                seq = self._patiently(lambda: relay.state(writer.stream_id)).received
            if not seq:
                about = Receive(self._here.name, writer.stream_id, child=self._is_child)
                seq = self._call(about).number
            place = Place(seq)
            state = self._patiently(self._here.state)
            place.attempt = state.attempt if state is not None else 1
            request.stream_place = place
            writer.received = place.seq
        return place
