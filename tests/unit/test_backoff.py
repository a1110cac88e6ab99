"""Waits between tries."""

from __future__ import annotations

from streamstraight_celery.backoff import Backoff


def test_each_wait_is_twice_the_one_before_up_to_a_limit() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next() == 0.5


def test_chance_shortens_a_wait() -> None:
    backoff = Backoff(0.5, 3.0, lambda: 0.5)
    assert [backoff.next() for _ in range(4)] == [0.25, 0.5, 1.0, 1.5]


def test_it_goes_on_for_as_long_as_it_has_to() -> None:
    backoff = Backoff(0.5, 3.0)
    assert {backoff.next() for _ in range(5000)} == {0.5, 1.0, 2.0, 3.0}
