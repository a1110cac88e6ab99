"""URLs of stream stores: what of them may be shown."""

from __future__ import annotations

import pytest

from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.urls import without_secrets
from streamstraight_celery.settings import StreamSettings


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("redis://:hush@host/0", "redis://:***@host/0"),
        ("redis://hush@host/0", "redis://***@host/0"),
        ("rediss://user:hu@sh@host/0", "rediss://user:***@host/0"),
        ("redis://user%3Ahush@host/0", "redis://***@host/0"),
        ("redis://user:hu%40sh@host:1/0?db=2", "redis://user:***@host:1/0?db=2"),
        ("redis://host/0?password=hush", "redis://host/0?password=***"),
        ("redis://host/0?db=1&pass%77ord=hush&timeout=2", "redis://host/0?db=1&pass%77ord=***&timeout=2"),
        ("redis://host/0?PASSWORD=hush", "redis://host/0?PASSWORD=***"),
        ("redis://host?ssl_password=hush", "redis://host?ssl_password=***"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("unix://:hush@/run/redis.sock?password=hush", "unix://:***@/run/redis.sock?password=***"),
        (
            "redis+sentinel://u:hush@a:1,b:2/0?service=m&sentinel_username=s&sentinel_password=hush",
            "redis+sentinel://u:***@a:1,b:2/0?service=m&sentinel_username=s&sentinel_password=***",
        ),
        # Malformed, for a password must be percent-encoded.
        ("redis://:hu/sh@host/0", "redis://:***@host/0"),
        ("redis://:hu?sh@host/0", "redis://***"),
        ("redis://:hu?sh=1&db=hush@host/0", "redis://***"),
        ("redis://host/0?password=hush@hush", "redis://***"),
        ("redis://:hush", "redis://***"),
        ("redis://a:1;redis://:hush@b:2", "redis://a:***@b:2"),
        ("user:hush@host:6379/0", "***"),
        ("memory://", "memory://"),
        ("", ""),
    ],
)  # fmt: skip
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    assert "hush" not in shown
    assert without_secrets(url) == shown


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "redis+sentinel"])
@pytest.mark.parametrize("rest", ["u:hu/sh@host:1/0", "u:hu#sh@host:1/0", "host:hush/0"])
def test_an_unreadable_url_is_an_error_without_its_password(scheme: str, rest: str) -> None:
    with pytest.raises(ConfigurationError, match="must be percent-encoded") as error:
        open_relay(StreamSettings(relay_url=f"{scheme}://{rest}"))
    for cause in (error.value, error.value.__cause__):
        assert "hu" not in str(cause).replace("must", "")
