"""`python -m benchmarks.listing`: what finding streams costs, and what the index costs streams.

    python -m benchmarks.listing --kept 100000 --foreign 1000000 --active 50

Fills a Redis of its own with streams that have ended, a few active ones, and keys of others. Then
times one `streams ls --active`, one refresh of `streams top` and one of the streams page, without
the start of a program; and creating and ending a stream with the index and without.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis

from streamstraight_celery.cli.listing import RUNNING
from streamstraight_celery.relays.about import About
from streamstraight_celery.relays.base import RelayOptions
from streamstraight_celery.relays.index import Query
from streamstraight_celery.relays.overview import overview
from streamstraight_celery.relays.redis.async_relay import AsyncRedisRelay
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.requests import Append, Claim, Create, Request
from streamstraight_celery.testing.embedded import EmbeddedRedis

BATCH = 500
ROUNDS = 20
PAIRS = 2000


def whole(name: str, about: About) -> list[Request]:
    """All requests of a stream of one chunk."""
    return [
        Create(name, name, about=about),
        Claim(name, "aaaaaaaa", name, about=about),
        Append(name, 1, "aaaaaaaa", 1, 1, b'"x"', "completed"),
    ]


def fill(url: str, kept: int, active: int, foreign: int) -> None:
    """Streams and other keys."""
    relay = RedisRelay(url, RelayOptions())
    for start in range(0, kept, BATCH):
        requests: list[Request] = []
        for number in range(start, min(start + BATCH, kept)):
            about = About.of(f"tasks.t{number % 5}", {"user": str(number % 1000)})
            requests += whole(f"kept-{number}", about)
        relay.execute(requests)
    relay.execute([Create(f"active-{number}", "t") for number in range(active)])
    with redis.Redis.from_url(url) as client:
        for start in range(0, foreign, 10_000):
            client.mset({f"foreign:{number}": "x" for number in range(start, start + 10_000)})
    relay.close()


def timed(what: Callable[[], Any], rounds: int = ROUNDS) -> list[float]:
    """Milliseconds of each of some calls."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        what()
        found.append((time.perf_counter() - began) * 1000)
    return found


async def page(url: str) -> list[float]:
    """What the relay server does for a refresh of the page."""
    relay = AsyncRedisRelay(url, RelayOptions())
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        running = await relay.find(Query.of(state="active", limit=200))
        kept = await relay.find(Query.of(limit=200), look=False)
        json.dumps([overview(*each) for each in (*running.streams, *kept.streams)])
        found.append((time.perf_counter() - began) * 1000)
    await relay.close()
    return found


def cost(url: str) -> tuple[float, float]:
    """Microseconds to create and end a stream with the index and without, by turns."""
    about = About.of("tasks.answer", {"user": "42"})
    relays = [RedisRelay(url, RelayOptions()), RedisRelay(url, RelayOptions(), in_cluster=True)]
    spent: list[list[float]] = [[], []]
    for number in range(PAIRS):
        for which, relay in enumerate(relays):
            requests = whole(f"cost-{which}-{number}", about)
            began = time.perf_counter()
            for request in requests:
                relay.call(request)
            spent[which].append((time.perf_counter() - began) * 1e6)
    for relay in relays:
        relay.close()
    return statistics.median(spent[0]), statistics.median(spent[1])


def line(name: str, found: Sequence[float]) -> None:
    print(f"{name:32} first {found[0]:6.1f} ms   p50 {statistics.median(found):6.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listing")
    parser.add_argument("--kept", type=int, default=100_000)
    parser.add_argument("--foreign", type=int, default=1_000_000)
    parser.add_argument("--active", type=int, default=50)
    given = parser.parse_args()
    with EmbeddedRedis() as server:
        fill(server.url, given.kept, given.active, given.foreign)
        print(f"{given.kept} kept streams, {given.active} active, {given.foreign} other keys")
        relay = RedisRelay(server.url, RelayOptions())
        line("streams ls --active", timed(lambda: relay.find(Query.of(state="active", limit=50))))
        line("streams top, one refresh", timed(lambda: relay.find(RUNNING)))
        line("list_streams(labels=, limit=20)", timed(
            lambda: relay.find(Query.of(labels={"user": "42"}, limit=20))
        ))  # fmt: skip
        line("streams page, one refresh", asyncio.run(page(server.url)))
        relay.close()
        with_index, without = cost(server.url)
        print(
            f"create and end a stream: {with_index:.0f} us with the index, {without:.0f} us "
            f"without ({with_index / without - 1:+.1%})"
        )


if __name__ == "__main__":
    main()
