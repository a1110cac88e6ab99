"""Milliseconds a web route spends: queueing a streaming task beside queueing a plain one."""

from __future__ import annotations

import time

from benchmarks.chunks import Job
from benchmarks.ours import Ours, routes
from benchmarks.results import Group
from benchmarks.session import Session
from benchmarks.stats import at_most, interleaved, percentile

CASE = "route"
CALLS = 200


def run(session: Session) -> list[Group]:
    stack = session.stack(Ours)
    calls = routes()
    first = next(iter(calls))
    group = Group(CASE, "time to the answer, p50", "ms", first, {first: at_most(2.5)})
    job = Job("route", 1).as_dict()
    for call in calls.values():
        call(job)
    for _ in range(session.rounds):
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for _, name in interleaved(CALLS, list(calls)):
            started = time.perf_counter()
            calls[name](job)
            taken[name].append((time.perf_counter() - started) * 1000)
        for name, times in taken.items():
            group.add(name, percentile(sorted(times), 50))
    stack.clear()
    for name in calls:
        session.say(f"{CASE}: {name} {group.value(name):.2f} ms")
    return [group]
