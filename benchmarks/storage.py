"""`python -m benchmarks.storage`: what streams cost in Redis, running and ended.

    python -m benchmarks.storage --recordings ../shared/recordings --kept 20000

Writes recorded answers of LLM providers, each event a chunk of its own, as a worker does that gets
them one by one, and looks at the keys before and after the end. Then fills a Redis with answers of
1 KB and divides all of its memory by their number. Then reads 10,000 events of 215 bytes that were
written one by one: with XRANGE alone, and as the relay server does, before and after they are
sealed; by turns.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import redis
import redis.asyncio

from benchmarks.chunks import as_json, event_chunk
from streamstraight_celery.relays.about import About
from streamstraight_celery.relays.base import RelayOptions
from streamstraight_celery.relays.redis.async_relay import AsyncRedisRelay
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.requests import Append, Claim, Create, Entry, Read
from streamstraight_celery.relays.sealing import seal_requests
from streamstraight_celery.testing.embedded import EmbeddedRedis

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "recordings"
NONCE = "aaaaaaaa"
EVENTS_REPLAYED = 10_000
ROUNDS = 20
LARGE = 100_000


def events(path: Path) -> list[bytes]:
    """The data of each event of a recording."""
    lines = [line[5:].strip() for line in path.read_bytes().split(b"\n")
             if line.startswith(b"data:")]  # fmt: skip
    return [line for line in lines if line != b"[DONE]"]


def write(relay: RedisRelay, name: str, lines: Sequence[bytes]) -> None:
    """A stream whose chunks came one by one."""
    about = About.of("app.tasks.answer")
    relay.execute([Create(name, str(uuid.uuid4()), about=about), Claim(name, NONCE, about=about)])
    appends = [Append(name, 1, NONCE, seq, 1, line) for seq, line in enumerate(lines, 1)]
    for start in range(0, len(appends), 100):
        relay.execute(appends[start : start + 100])


def end(relay: RedisRelay, name: str, lines: Sequence[bytes]) -> None:
    """End it, and seal it as its producer does."""
    relay.call(Append(name, 1, NONCE, len(lines) + 1, 0, b"", "completed"))
    entries = [Entry(seq, seq, line) for seq, line in enumerate(lines, 1)]
    for request in seal_requests(name, 1, NONCE, entries):
        assert relay.call(request).kind == "ok"


def stored(client: redis.Redis, name: str) -> int:
    """Bytes of a stream's own keys."""
    return sum([client.memory_usage(f"ss:{{{name}}}:{key}", samples=0) or 0 for key in "ms"])


def by_recording(relay: RedisRelay, client: redis.Redis, folder: Path) -> None:
    print(f"{'':48} chunks  payload  running     sealed")
    large = [0, 0]
    for path in sorted(folder.glob("*.sse")):
        lines, name = events(path), str(uuid.uuid4())
        write(relay, name, lines)
        size, running = sum([len(line) for line in lines]), stored(client, name)
        end(relay, name, lines)
        sealed = stored(client, name)
        print(
            f"{path.stem:48} {len(lines):6} {size:8} {running / size:8.2f} {sealed / size:6.2f} B/B"
        )
        if size >= LARGE:
            large = [large[0] + size, large[1] + sealed]
    if large[0]:
        print(f"of {LARGE:,} bytes and more, together {large[1] / large[0]:.2f} B/B sealed")


def small(relay: RedisRelay, client: redis.Redis, lines: Sequence[bytes], kept: int) -> None:
    """What an answer of 1 KB takes of all Redis: keys, index and what they need."""
    client.flushall()
    before = client.info("memory")["used_memory"]
    for _ in range(kept):
        name = str(uuid.uuid4())
        write(relay, name, lines)
        end(relay, name, lines)
    used = (client.info("memory")["used_memory"] - before) / kept
    size = sum([len(line) for line in lines])
    print(
        f"answers of {size} bytes in {len(lines)} chunks, {kept} of them: {used:.0f} B each in all"
    )


def kilobyte(folder: Path) -> list[bytes]:
    """The first KB of a recorded answer."""
    lines, size = [], 0
    for line in events(folder / "anthropic-sdk-tool-use.sse"):
        if size + len(line) > 1024:
            break
        lines.append(line)
        size += len(line)
    return lines


async def read_all(relay: AsyncRedisRelay, name: str) -> None:
    """All chunks of a stream, as the relay server reads them."""
    seq = 0
    while seq < EVENTS_REPLAYED:
        page = (await relay.read([Read(name, 1 if seq else 0, seq, 4096)]))[0]
        assert page is not None
        seq = page.entries[-1].last


async def replay(relay: RedisRelay, url: str) -> None:
    """Milliseconds to read a long stream, in each form and without our scripts, by turns."""
    lines = [as_json(event_chunk(number)).encode() for number in range(EVENTS_REPLAYED)]
    write(relay, "open", lines)
    write(relay, "sealed", lines)
    end(relay, "sealed", lines)
    server_side, raw = AsyncRedisRelay(url, RelayOptions()), redis.asyncio.Redis.from_url(url)
    raw.set_response_callback("XRANGE", lambda answer, **_: answer)
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "XRANGE, raw": lambda: raw.xrange("ss:{open}:s"),
        "as entries of one chunk": lambda: read_all(server_side, "open"),
        "sealed": lambda: read_all(server_side, "sealed"),
    }
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, ask in ways.items():
            began = time.perf_counter()
            await ask()
            spent[way].append((time.perf_counter() - began) * 1000)
    await server_side.close()
    await raw.aclose()
    print(f"{EVENTS_REPLAYED:,} events of 215 bytes, read by the relay server:")
    for way, some in spent.items():
        print(f"  {way:28} p50 {statistics.median(some):6.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storage")
    parser.add_argument("--recordings", type=Path, default=RECORDINGS)
    parser.add_argument("--kept", type=int, default=20_000)
    given = parser.parse_args()
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as client:
        relay = RedisRelay(server.url, RelayOptions())
        print(f"redis-server {client.info('server')['redis_version']}")
        if given.recordings.is_dir():
            by_recording(relay, client, given.recordings)
            small(relay, client, kilobyte(given.recordings), given.kept)
        else:
            print(f"no recordings at {given.recordings}")
        asyncio.run(replay(relay, server.url))
        relay.close()


if __name__ == "__main__":
    main()
