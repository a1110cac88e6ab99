from __future__ import annotations

import pytest

from benchmarks.capacity import Costs, Load, heard_by, need, report

COSTS = Costs(worker=100, redis=50, copy=5, notice=50, event=10)


def test_the_load_is_divided_by_what_a_core_does() -> None:
    found = need(Load(streams=100, readers=400, rate=50, busy=0.5), COSTS)

    assert found.workers == pytest.approx(5_000 * 100 / 1e6 / 0.5)
    assert found.redis == pytest.approx(5_000 * 55 / 1e6 / 0.5)
    assert found.relays == pytest.approx((5_000 * 50 + 20_000 * 10) / 1e6 / 0.5)


def test_readers_that_go_anywhere_make_more_relay_servers_hear_of_a_stream() -> None:
    load = Load(streams=100_000, readers=1_000_000, rate=50)

    assert heard_by(load, 1000) == 1
    assert heard_by(load._replace(spread=True), 1000) == pytest.approx(10, rel=0.01)
    assert need(load._replace(spread=True), COSTS).relays > 2 * need(load, COSTS).relays


def test_a_stream_without_readers_is_heard_of_by_nobody() -> None:
    assert heard_by(Load(streams=100, readers=0, rate=50), 4) == 0


def test_the_report_names_what_takes_most() -> None:
    few = report(Load(streams=1000, readers=10, rate=50), COSTS)
    many = report(Load(streams=10, readers=100_000, rate=50), COSTS)

    assert "workers" in few[-1]
    assert "relay servers" in many[-1]
