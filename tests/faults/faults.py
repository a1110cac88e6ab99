"""What may go wrong, and when: two enumerations, to be crossed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum

import redis

from tests.faults.oracle import Loss
from tests.faults.stage import LEASE, REAP_AFTER, Stage, until

Strike = Callable[[Stage], Awaitable[None]]


class Moment(Enum):
    """Where in its life the stream is when a fault strikes."""

    QUEUED = "while it is queued"
    CLAIMED = "before the first chunk"
    FIRST = "behind the first chunk"
    MIDDLE = "in the middle, at a halt"
    FLOWING = "in the middle, while chunks flow"
    LAST = "behind the last chunk, before the end"
    ENDED = "after the end"


class Fault(Enum):
    """Faults that the producer outlives: readers notice nothing but a pause."""

    RESTART = "Redis is killed and comes back with all it had"
    RESTART_LATE = "Redis is away for longer than a lost producer's stream is kept open"
    RESTART_EMPTY = "Redis is killed and comes back with nothing"
    LOSE_TAIL = "Redis is killed and comes back without what it wrote last, cut in mid-command"
    FLUSH = "FLUSHALL"
    ROLLBACK = "the keys are as they were a moment ago, as on a replica that lagged"
    EVICT_LOG = "the log alone is evicted"
    EVICT_STATE = "the state alone is evicted"
    SCRIPT_FLUSH = "SCRIPT FLUSH"
    CLIENT_KILL = "CLIENT KILL of everybody"
    CLIENT_PAUSE = "CLIENT PAUSE"
    MAXMEMORY = "maxmemory is reached"
    FULL_DISK = "the disk is full"
    CUT = "all connections are cut"
    CUT_IN_REQUEST = "connections are cut in the middle of a request"
    CUT_IN_REPLY = "connections are cut in the middle of a reply"
    LOST_REPLIES = "requests are carried out, and their replies lost"
    NO_ROUTE = "nobody can connect to Redis for a while"
    HANG = "the network holds everything back for a while"
    REDIS_HANGS = "Redis stands still for a while"
    RELAY_KILLED = "a relay server is killed"
    RELAY_RESTARTS = "a relay server shuts down and comes back"
    RELAY_HANGS = "a relay server stands still for a while"

    async def strike(self, stage: Stage) -> None:
        """Strike, and heal again."""
        try:
            await _STRIKES[self](stage)
        finally:
            stage.heal()


async def _restart(stage: Stage) -> None:
    stage.redis.kill()
    await asyncio.to_thread(stage.redis.start)


async def _restart_late(stage: Stage) -> None:
    stage.redis.kill()
    await asyncio.sleep(LEASE + REAP_AFTER + 0.5)
    await asyncio.to_thread(stage.redis.start)


async def _restart_empty(stage: Stage) -> None:
    async with _losing(stage, everything=True):
        stage.redis.kill()
        stage.redis.forget()
        await asyncio.to_thread(stage.redis.start)


async def _lose_tail(stage: Stage) -> None:
    async with _losing(stage):
        # Let something be written that will be lost.
        size = stage.redis.log_size()
        await asyncio.sleep(0.1)
        stage.redis.kill()
        kept = max(size - 2000, (size + stage.redis.log_size()) // 2 - 1300)
        stage.redis.lose_tail(max(kept, 0))
        await asyncio.to_thread(stage.redis.start)


async def _flush(stage: Stage) -> None:
    async with _losing(stage, everything=True):
        with stage.redis.client() as client:
            client.flushall()


async def _rollback(stage: Stage) -> None:
    with stage.redis.client() as client:
        # As of one moment, as a replica would have it.
        keys = list(client.scan_iter(count=1000))
        dumps = client.pipeline(transaction=True)
        for key in keys:
            dumps.dump(key)
        before = dict(zip(keys, dumps.execute(), strict=True))
        async with _losing(stage):
            await asyncio.sleep(0.15)
            pipeline = client.pipeline(transaction=True)
            pipeline.flushall()
            for key, value in before.items():
                if value is not None:
                    pipeline.restore(key, 600_000, value)
            pipeline.execute()


async def _evict_log(stage: Stage) -> None:
    await _evict(stage, b":s")


async def _evict_state(stage: Stage) -> None:
    await _evict(stage, b":m")


async def _evict(stage: Stage, suffix: bytes) -> None:
    async with _losing(stage, everything=True):
        with stage.redis.client() as client:
            for key in client.scan_iter():
                if key.endswith(suffix):
                    client.delete(key)


async def _script_flush(stage: Stage) -> None:
    with stage.redis.client() as client:
        client.script_flush()


async def _client_kill(stage: Stage) -> None:
    with stage.redis.client() as client:
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


async def _client_pause(stage: Stage) -> None:
    with stage.redis.client() as client:
        client.client_pause(500)
        await asyncio.sleep(0.5)


async def _maxmemory(stage: Stage) -> None:
    with stage.redis.client() as client:
        client.config_set("maxmemory", 1)
        try:
            await asyncio.sleep(0.5)
        finally:
            client.config_set("maxmemory", 0)


async def _full_disk(stage: Stage) -> None:
    with stage.redis.client() as client:
        stage.redis.limit_file_size(stage.redis.log_size())
        try:
            await until(lambda: _refuses_writes(client), "Redis notices that its disk is full")
            await asyncio.sleep(0.3)
        finally:
            stage.redis.limit_file_size(-1)
        await until(lambda: not _refuses_writes(client), "Redis notices that there is room again")


def _refuses_writes(client: redis.Redis) -> bool:
    try:
        client.set("probe", "x", px=1000)
    except redis.ResponseError as error:
        return "MISCONF" in str(error)
    return False


async def _cut(stage: Stage) -> None:
    stage.to_producers.cut()
    stage.to_relays.cut()


async def _cut_in_request(stage: Stage) -> None:
    for proxy in (stage.to_producers, stage.to_relays):
        proxy.once("requests", "half", times=2)
    await asyncio.sleep(0.3)


async def _cut_in_reply(stage: Stage) -> None:
    for proxy in (stage.to_producers, stage.to_relays):
        proxy.once("replies", "half", times=2)
    await asyncio.sleep(0.3)


async def _lost_replies(stage: Stage) -> None:
    stage.to_producers.once("replies", "swallow", times=3)
    await asyncio.sleep(0.3)


async def _no_route(stage: Stage) -> None:
    stage.to_producers.refuse()
    stage.to_relays.refuse()
    await asyncio.sleep(0.5)


async def _hang(stage: Stage) -> None:
    stage.to_producers.freeze()
    stage.to_relays.freeze()
    await asyncio.sleep(0.5)


async def _redis_hangs(stage: Stage) -> None:
    await _stopped(stage, stage.redis.pid, 0.5)


async def _relay_killed(stage: Stage) -> None:
    stage.relays[0].kill()
    await asyncio.to_thread(stage.relays[0].start)


async def _relay_restarts(stage: Stage) -> None:
    stage.relays[1].signal(signal.SIGTERM)
    await asyncio.to_thread(stage.relays[1].process.wait, 20)
    stage.relays[1].kill()
    await asyncio.to_thread(stage.relays[1].start)


async def _relay_hangs(stage: Stage) -> None:
    await _stopped(stage, stage.relays[0].pid, 0.5)


async def _stopped(stage: Stage, pid: int, seconds: float) -> None:
    import os

    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def _losing(stage: Stage, *, everything: bool = False) -> AsyncIterator[None]:
    """Note what is lost: all of what was written before, or what was in the last seconds."""
    since = 0.0 if everything else time.monotonic() - 5.0
    yield
    stage.losses.append(Loss(since, time.monotonic()))


_STRIKES: dict[Fault, Strike] = {
    Fault.RESTART: _restart,
    Fault.RESTART_LATE: _restart_late,
    Fault.RESTART_EMPTY: _restart_empty,
    Fault.LOSE_TAIL: _lose_tail,
    Fault.FLUSH: _flush,
    Fault.ROLLBACK: _rollback,
    Fault.EVICT_LOG: _evict_log,
    Fault.EVICT_STATE: _evict_state,
    Fault.SCRIPT_FLUSH: _script_flush,
    Fault.CLIENT_KILL: _client_kill,
    Fault.CLIENT_PAUSE: _client_pause,
    Fault.MAXMEMORY: _maxmemory,
    Fault.FULL_DISK: _full_disk,
    Fault.CUT: _cut,
    Fault.CUT_IN_REQUEST: _cut_in_request,
    Fault.CUT_IN_REPLY: _cut_in_reply,
    Fault.LOST_REPLIES: _lost_replies,
    Fault.NO_ROUTE: _no_route,
    Fault.HANG: _hang,
    Fault.REDIS_HANGS: _redis_hangs,
    Fault.RELAY_KILLED: _relay_killed,
    Fault.RELAY_RESTARTS: _relay_restarts,
    Fault.RELAY_HANGS: _relay_hangs,
}
assert set(_STRIKES) == set(Fault)
