"""Milliseconds from the route to the first chunk, beside a plain task until it runs; prefork."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from benchmarks.ours import PREFORK, Ours, first_plain, first_stream
from benchmarks.processes import BenchmarkError
from benchmarks.results import Group
from benchmarks.session import Session
from benchmarks.stats import at_most, interleaved, percentile

CASE = "first"
CALLS = 60
WARM_UP = 10
READER = "ours, until the reader has it"
RUNS = "ours, until the generator runs"
PLAIN = "plain task.delay(), until it runs"
ABOVE = "ours above the plain task"
PAUSE_S = 0.02
PATIENCE_S = 20.0


def run(session: Session) -> list[Group]:
    stack = session.stack(Ours)
    assert isinstance(stack, Ours)
    title = "time to the first chunk, prefork, p50"
    group = Group(CASE, title, "ms", READER, {ABOVE: at_most(2.5)})
    for _ in range(session.rounds):
        taken: dict[str, list[float]] = {READER: [], RUNS: [], PLAIN: []}
        for number, plain in interleaved(WARM_UP + CALLS, (False, True)):
            got = _plain(stack) if plain else _stream(stack)
            if number >= WARM_UP:
                for name, milliseconds in got.items():
                    taken[name].append(milliseconds)
            time.sleep(PAUSE_S)
        p50 = {name: percentile(sorted(times), 50) for name, times in taken.items()}
        for name in (READER, RUNS, PLAIN):
            group.add(name, p50[name])
        group.add(ABOVE, p50[READER] - p50[PLAIN])
        session.say(f"{CASE}: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in p50.items()))
    stack.clear()
    return [group]


def _stream(stack: Ours) -> dict[str, float]:
    """Enqueue, and read as a browser does that gets the stream's address from the route."""
    with socket.create_connection(("127.0.0.1", stack.port), PATIENCE_S) as connection:
        started = time.monotonic_ns()
        ref = first_stream.apply_stream(queue=PREFORK).ref()
        path = urlsplit(ref["url"]).path
        connection.sendall(
            f"GET {path}?live=sse&offset=-1 HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {ref['token']}\r\n\r\n".encode()
        )
        received = b""
        while received.count(b"@") < 2:
            if not (data := connection.recv(65536)):
                raise BenchmarkError(f"the first chunk did not come: {received[-500:]!r}")
            received += data
        arrived = time.monotonic_ns()
    began = int(received.split(b"@")[1])
    return {READER: (arrived - started) / 1e6, RUNS: (began - started) / 1e6}


def _plain(stack: Ours) -> dict[str, float]:
    started = time.monotonic_ns()
    first_plain.apply_async((stack.environment["BENCH_RELAY"],), queue=PREFORK)
    found = stack.redis.data.blpop(["plain"], timeout=PATIENCE_S)
    if not found:
        raise BenchmarkError("the plain task did not run")
    return {PLAIN: (int(found[1]) - started) / 1e6}
