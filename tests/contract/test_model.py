"""Create, claim, append, renew, release, stop, reap and rollback, in any order, against a model.

Redis goes back to an older state of the keys, as after a failover or a restart without its newest
writes; producers that were granted an attempt go on all the same, the superseded ones too.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from streamstraight_celery.relays.base import Page, RelayOptions
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.requests import (
    Answer,
    Append,
    Claim,
    Create,
    Entry,
    Read,
    Reap,
    Release,
    Renew,
    Request,
    Stop,
)
from streamstraight_celery.relays.sealing import seal_requests
from tests.support.keys import without_index

from .model import LEASE, REAP_AFTER, Model

S = "s"
KEYS = (f"ss:{{{S}}}:m", f"ss:{{{S}}}:s")
OPTIONS = RelayOptions(ttl=10**9, lease=LEASE, reap_after=REAP_AFTER)
NEVER = 10**12
# No sum of these comes near LEASE, LEASE + REAP_AFTER or WAIT: real time passes, too, a little.
STEPS = (35_000, 110_000, 250_000)
WAIT = 60_000
SLACK = 20_000


class Store(ABC):
    """A relay whose clock and past are the test's to change."""

    @abstractmethod
    def execute(self, request: Request) -> Answer: ...

    @abstractmethod
    def read(self, read: Read) -> Page | None: ...

    @abstractmethod
    def pass_time(self, ms: int) -> None: ...

    @abstractmethod
    def snapshot(self) -> Any: ...

    @abstractmethod
    def restore(self, snapshot: Any) -> None:
        """Go back to a snapshot; None: to nothing at all."""

    def check(self) -> None:
        """What must hold beside."""
        return


class InMemory(Store):
    def __init__(self) -> None:
        self._time = 1000.0
        self._store = MemoryStore(OPTIONS, lambda: self._time)

    def execute(self, request: Request) -> Answer:
        return self._store.execute(request)

    def read(self, read: Read) -> Page | None:
        return self._store.read(read)

    def pass_time(self, ms: int) -> None:
        self._time += ms / 1000

    def snapshot(self) -> Any:
        return copy.deepcopy(self._store._streams)

    def restore(self, snapshot: Any) -> None:
        self._store._streams = copy.deepcopy(snapshot) if snapshot else {}


class OnRedis(Store):
    """Time passes by moving the end of the lease, and when that was noticed."""

    def __init__(self, url: str) -> None:
        self._relay = RedisRelay(url, OPTIONS)
        self._client = redis.Redis.from_url(url)
        self._client.flushdb()
        self._passed = 0

    def execute(self, request: Request) -> Answer:
        return self._relay.call(request)

    def read(self, read: Read) -> Page | None:
        return self._relay.read(read)

    def pass_time(self, ms: int) -> None:
        self._passed += ms
        self._move(-ms)

    def snapshot(self) -> Any:
        return [self._client.dump(key) for key in KEYS], self._passed

    def restore(self, snapshot: Any) -> None:
        self._client.delete(*KEYS)
        values, passed = snapshot or ([], 0)
        for key, value in zip(KEYS, values, strict=False):
            if value is not None:
                self._client.restore(key, OPTIONS.ttl, value)
        if snapshot and values[0] is not None:
            self._move(passed - self._passed)

    def _move(self, ms: int) -> None:
        for field in ("x", "u"):
            if self._client.hexists(KEYS[0], field):
                self._client.hincrby(KEYS[0], field, ms)

    def check(self) -> None:
        for key in without_index(self._client.scan_iter()):
            assert self._client.pttl(key) > 0, f"{key!r} never expires"

    def close(self) -> None:
        self._relay.close()
        self._client.close()


class Machine(RuleBasedStateMachine):
    """One stream, any number of producers that were granted an attempt of it."""

    store: Store

    @abstractmethod
    def new_store(self) -> Store: ...

    @initialize()
    def begin(self) -> None:
        self.store = self.new_store()
        self.model = Model()
        self.now = 1_000_000
        self.granted: list[tuple[int, str]] = []
        self.names = 0
        self.past: tuple[Any, Model] | None = None

    def ask(self, request: Request) -> Answer:
        """Carry out a request on both, and compare."""
        self.model, expected = self.model.carry_out(request, self.now, NEVER)
        answer = self.store.execute(request)
        if expected.kind in ("busy", "alive"):
            if expected.number < NEVER // 2:
                assert abs(answer.number - expected.number) < SLACK
            expected = expected._replace(number=answer.number)
        assert answer == expected, request
        return answer

    def producer(self, which: int) -> tuple[int, str]:
        return self.granted[which % len(self.granted)]

    @rule(owner=st.sampled_from(["task-1", "task-2"]))
    def create(self, owner: str) -> None:
        self.ask(Create(S, owner))

    @rule(resume=st.booleans(), after_loss=st.booleans())
    def claim(self, resume: bool, after_loss: bool) -> None:
        self.names += 1
        nonce = f"{self.names:08x}"
        answer = self.ask(Claim(S, nonce, "task-1", resume=resume, after_loss=after_loss))
        if answer.kind == "ok":
            self.granted.append((answer.number, nonce))

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0, 5))
    def claim_again(self, which: int) -> None:
        """The reply was lost; but only an attempt that is still there gets the same answer."""
        attempt, nonce = self.producer(which)
        if (attempt, nonce) == (self.model.attempt, self.model.nonce):
            self.ask(Claim(S, nonce, "task-1"))

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0, 5))
    def create_again(self, which: int) -> None:
        attempt, nonce = self.producer(which)
        self.ask(Claim(S, nonce, "task-1", attempt=attempt))

    @precondition(lambda self: self.granted)
    @rule(
        which=st.integers(0, 5), back=st.integers(-2, 3), count=st.integers(0, 3),
        end=st.sampled_from(["", "", "", "", "completed", "producer-error"]),
    )  # fmt: skip
    def append(self, which: int, back: int, count: int, end: str) -> None:
        attempt, nonce = self.producer(which)
        first = max(1, self.model.last + 1 - back)
        data = "\n".join(f'"{nonce} {seq}"' for seq in range(first, first + count))
        self.ask(Append(S, attempt, nonce, first, count, data.encode(), end))

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0, 5))
    def renew(self, which: int) -> None:
        self.ask(Renew(S, *self.producer(which)))

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0, 5), wait=st.sampled_from([0, WAIT]))
    def release(self, which: int, wait: int) -> None:
        self.ask(Release(S, *self.producer(which), wait))

    @rule()
    def stop(self) -> None:
        self.ask(Stop(S))

    @rule()
    def reap(self) -> None:
        self.ask(Reap(S))

    @precondition(lambda self: self.granted and self.model.chunks)
    @rule(which=st.integers(0, 5), lost=st.integers(0, 8))
    def seal(self, which: int, lost: int) -> None:
        """A producer that may be superseded, and may not have the last chunk."""
        texts = self.model.chunks[: -1 if lost == 8 else None]
        if not texts or self.model.end == "producer-disconnected":
            return
        entry = Entry(1, len(texts), "\n".join(texts).encode())
        attempt, nonce = self.producer(which)
        for request in seal_requests(S, attempt, nonce, [entry]):
            if isinstance(self.store, InMemory):
                assert self.store.execute(request).kind == "refused"
            else:
                self.ask(request)

    @rule(ms=st.sampled_from(STEPS))
    def pass_time(self, ms: int) -> None:
        self.now += ms
        self.store.pass_time(ms)

    @rule()
    def remember(self) -> None:
        self.past = (self.store.snapshot(), self.model)

    @precondition(lambda self: self.past is not None)
    @rule()
    def roll_back(self) -> None:
        assert self.past is not None
        snapshot, self.model = self.past
        self.store.restore(snapshot)

    @rule()
    def lose_everything(self) -> None:
        self.store.restore(None)
        self.model = Model()

    @invariant()
    def the_log_is_the_model_s(self) -> None:
        if not hasattr(self, "model"):
            return
        model = self.model
        page = self.store.read(Read(S, 0, 0, 1000))
        assert (page is not None) == model.exists
        if page is None:
            return
        state = page.state
        assert (state.attempt, state.nonce, state.last, state.end) == (
            model.attempt, model.nonce, model.last, model.end,
        )  # fmt: skip
        assert (state.owner, state.stop_asked, state.released) == (
            model.owner, model.stop, model.released,
        )  # fmt: skip
        assert state.lineage == model.lineage
        assert state.sealed is model.sealed or isinstance(self.store, InMemory)
        assert texts(page) == list(model.chunks)
        middle = model.last // 2
        attempt = next((s.attempt for s in state.segments if middle <= s.last), state.attempt)
        later = self.store.read(Read(S, attempt, middle, 1000))
        assert later is not None
        assert texts(later) == list(model.chunks[middle:])

    @invariant()
    def every_chunk_is_of_the_attempt_that_its_offset_names(self) -> None:
        page = self.store.read(Read(S, 0, 0, 1000)) if hasattr(self, "model") else None
        if page is None:
            return
        for seq, text in enumerate(texts(page), 1):
            segment = next(each for each in page.state.segments if seq <= each.last)
            assert text == f'"{segment.nonce} {seq}"'

    @invariant()
    def nothing_else(self) -> None:
        if hasattr(self, "model"):
            self.store.check()


def texts(page: Page) -> list[str]:
    return [text for entry in page.entries for text in entry.data.decode().split("\n")]


def run(machine: type[Machine], **options: Any) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            deadline=None, database=None, stateful_step_count=40,
            suppress_health_check=list(HealthCheck), **options,
        ),
    )  # fmt: skip


@pytest.fixture
def on_redis(redis_url: str) -> type[Machine]:
    class RedisMachine(Machine):
        def new_store(self) -> Store:
            return OnRedis(redis_url)

        def teardown(self) -> None:
            if hasattr(self, "store"):
                assert isinstance(self.store, OnRedis)
                self.store.close()

    return RedisMachine


class MemoryMachine(Machine):
    def new_store(self) -> Store:
        return InMemory()


def test_the_scripts_are_the_model(on_redis: type[Machine]) -> None:
    run(on_redis, max_examples=80, derandomize=True)


def test_the_memory_relay_is_the_model() -> None:
    run(MemoryMachine, max_examples=150, derandomize=True)


@pytest.mark.faults
@pytest.mark.parametrize("round_", range(5))
def test_the_scripts_are_the_model_on_other_ways(on_redis: type[Machine], round_: int) -> None:
    run(on_redis, max_examples=200)
