"""Moments as Celery's options name them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.exceptions import Retry

from streamstraight_celery.due_times import seconds_until
from streamstraight_celery.producing.failures import retry_delay

ZONE = ZoneInfo("America/New_York")
HOUR = 3600.0


@pytest.fixture
def app() -> Celery:
    app = Celery(set_as_current=False)
    app.conf.timezone = ZONE.key
    return app


def in_three_hours(zone: Any) -> datetime:
    return datetime.now(zone) + timedelta(hours=3)


# Asked in the test: it may run long after this module was read.
@pytest.mark.parametrize(
    "when",
    [
        lambda: 3 * HOUR,
        lambda: in_three_hours(timezone.utc),
        lambda: in_three_hours(timezone.utc).isoformat(),
        lambda: in_three_hours(ZONE).replace(tzinfo=None),
        lambda: in_three_hours(ZONE).replace(tzinfo=None).isoformat(),
    ],
    ids=["seconds", "a moment", "as text", "in the app's time zone", "that as text"],
)
def test_how_long_it_is_until(app: Celery, when: Callable[[], Any]) -> None:
    assert seconds_until(when(), app) == pytest.approx(3 * HOUR, abs=600)
    assert retry_delay(Retry(when=when()), app) == pytest.approx(3 * HOUR, abs=600)


@pytest.mark.parametrize("when", [-1.0, "2020-01-01T00:00:00+00:00"])
def test_what_is_past_is_now(app: Celery, when: Any) -> None:
    assert seconds_until(when, app) == 0


def test_a_retry_that_names_no_moment_is_due(app: Celery) -> None:
    assert retry_delay(Retry(), app) == 0
