"""`.stream()` answers in about the time of one broker publish, whatever the workers do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
from celery import Celery

from tests.tasks.apps import forms, listening
from tests.tasks.log import state_of
from tests.tasks.processes import Worker, wait_until
from tests.tasks.speaker import Speaker

ROUNDS = 150
# One round trip to the relay and one publish, against one publish: about 1.2 times on a quiet
# machine. Waiting for a worker to begin would be several times that, for its work far more.
FACTOR = 3


def median_times(*calls: Callable[[], object]) -> list[float]:
    """The median time of each call, taken in turns: what disturbs one disturbs all."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, taken in zip(calls, times, strict=True):
            before = time.perf_counter()
            call()
            taken.append(time.perf_counter() - before)
    return [statistics.median(taken) for taken in times]


def test_without_a_worker_the_route_does_not_wait(app: Celery, mark: str) -> None:
    queue = f"nobody-{mark}"

    publish, stream = median_times(
        lambda: forms.plain.apply_async(queue=queue),
        lambda: forms.bare.apply_stream(("one two",), queue=queue).ref(),
    )

    assert stream <= publish * FACTOR


def test_with_a_busy_worker_the_route_does_not_wait(
    app: Celery, start_worker: Callable[..., Worker], speaker: Speaker
) -> None:
    worker = start_worker("busy", pool="solo", concurrency=1)
    busy = listening.listening.apply_stream((speaker.port,), queue=worker.queue)
    speaker.answer()
    waiting = []

    publish, stream = median_times(
        lambda: forms.plain.apply_async(queue=worker.queue),
        lambda: waiting.append(forms.bare.apply_stream(("one two",), queue=worker.queue)),
    )

    assert stream <= publish * FACTOR
    assert state_of(app, busy.id).end == ""
    assert {state_of(app, handle.id).attempt for handle in waiting} == {0}
    # They all run as soon as the worker is free.
    speaker.hang_up()
    wait_until(lambda: waiting[-1].state().end == "completed", "the last of them has run")
    assert {state_of(app, handle.id).end for handle in waiting} == {"completed"}


@pytest.mark.usefixtures("prefork")
def test_a_handle_s_token_and_url_cost_no_round_trip(app: Celery) -> None:
    handle = forms.bare.stream("one two")

    publish, ref = median_times(lambda: forms.plain.apply_async(queue="nobody"), handle.ref)

    assert ref < publish
