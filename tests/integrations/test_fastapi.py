"""FastAPI: what is told at once when it is put together wrongly."""

from __future__ import annotations

from typing import Any

import pytest
from celery import current_app
from fastapi import FastAPI

from streamstraight_celery.integrations.fastapi import Streams
from streamstraight_celery.server import relay_app


@pytest.mark.parametrize("made", [Streams, relay_app])
@pytest.mark.parametrize("given", [FastAPI(), "proj"])
def test_what_is_no_celery_app(made: Any, given: Any) -> None:
    with pytest.raises(TypeError, match="is no Celery app: give the one that has the tasks"):
        made(given)


def test_celerys_proxy_for_the_current_app_is_one() -> None:
    assert Streams(current_app).router.routes
