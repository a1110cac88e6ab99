"""Celery's sentinels behind TLS: what Celery is told about both connections is taken over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from streamstraight_celery.errors import RelayUnavailableError
from streamstraight_celery.relays import open_relay
from streamstraight_celery.settings import read_settings
from tests.contract.test_celery_redis import app_with, celery_connects, works
from tests.support.secure_redis import SecureSentinel


@pytest.fixture(scope="module")
def sentinel() -> Iterator[SecureSentinel]:
    sentinel = SecureSentinel()
    yield sentinel
    sentinel.close()


def conf_of(sentinel: SecureSentinel, kind: str, trust: dict[str, Any]) -> dict[str, Any]:
    options = {
        "master_name": sentinel.service, "sentinel_kwargs": {"ssl": True, **trust},
    }  # fmt: skip
    url = f"sentinel://127.0.0.1:{sentinel.port}/1"
    if kind == "broker":
        return {
            "broker_url": url, "broker_transport_options": options, "broker_use_ssl": trust,
        }  # fmt: skip
    return {
        "result_backend": url, "result_backend_transport_options": options,
        "redis_backend_use_ssl": trust,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["broker", "backend", "URL"])
async def test_sentinels_over_tls(sentinel: SecureSentinel, kind: str) -> None:
    trust = sentinel.primary.trust
    if kind == "URL":
        app = app_with(
            stream_relay_url=(
                f"rediss+sentinel://127.0.0.1:{sentinel.port}/1?service={sentinel.service}"
            ),
            stream_relay_options={**trust, "sentinel_kwargs": {"ssl": True, **trust}},
        )
    else:
        app = app_with(**conf_of(sentinel, kind, trust))
        celery_connects(app)
    await works(read_settings(app))


def test_a_sentinel_that_nobody_vouches_for_is_not_asked(sentinel: SecureSentinel) -> None:
    app = app_with(**conf_of(sentinel, "broker", {"ssl_cert_reqs": "required"}))
    with (
        contextlib.closing(open_relay(read_settings(app))) as relay,
        pytest.raises(RelayUnavailableError),
    ):
        relay.state("s")
