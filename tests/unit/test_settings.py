"""Settings: read from Celery's configuration, checked, in one place."""

from __future__ import annotations

import re
import types
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.settings import StreamSettings, read_settings


def app_with(**conf: Any) -> Celery:
    app = Celery("t", broker=conf.pop("broker", "memory://"), set_as_current=False)
    app.conf.update(conf)
    return app


def test_defaults() -> None:
    assert read_settings(app_with()) == StreamSettings()


def test_all_kinds_of_values() -> None:
    settings = read_settings(
        app_with(
            stream_relay_url="redis://r/1", stream_lease=3, stream_secret="x" * 20,
            stream_allowed_origins=["https://a.example"], stream_show_arguments=True,
            stream_max_bytes=10, stream_public_url="https://relay.example/",
        )
    )  # fmt: skip
    assert settings.relay_url == "redis://r/1"
    assert settings.lease == 3.0
    assert settings.secret == ("x" * 20,)
    assert settings.allowed_origins == ("https://a.example",)
    assert settings.show_arguments is True
    assert settings.max_bytes == 10
    assert settings.public_url == "https://relay.example"


def test_django_style_names() -> None:
    module = types.SimpleNamespace(
        CELERY_STREAM_RELAY_URL="redis://django/0",
        CELERY_BROKER_URL="amqp://",
        # Another package's settings, which are none of our business.
        STREAM_API_KEY="x",
    )
    app = Celery("t", set_as_current=False)
    app.config_from_object(module, namespace="CELERY")
    assert read_settings(app).relay_url == "redis://django/0"


def test_an_unknown_django_style_setting() -> None:
    app = Celery("t", set_as_current=False)
    app.config_from_object(
        types.SimpleNamespace(CELERY_STREAM_LEAS=1, CELERY_BROKER_URL="amqp://"),
        namespace="CELERY",
    )
    with pytest.raises(ConfigurationError, match="did you mean stream_lease"):
        read_settings(app)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"stream_lingr": 1}, "unknown setting stream_lingr; did you mean stream_linger?"),
        ({"stream_zzzzzzzzz": 1}, "unknown setting stream_zzzzzzzzz$"),
        ({"stream_lease": "10"}, "stream_lease must be a float, not '10'"),
        ({"stream_lease": True}, "stream_lease must be a float"),
        ({"stream_ttl": float("nan")}, "stream_ttl must be greater than 0, and finite"),
        ({"stream_ttl": float("inf")}, "stream_ttl must be greater than 0, and finite"),
        ({"stream_max_bytes": float("inf")}, "stream_max_bytes must be greater than 0, and"),
        ({"stream_lease": 0}, "stream_lease must be greater than 0"),
        ({"stream_max_bytes": -1}, "stream_max_bytes must be greater than 0"),
        ({"stream_linger": 0.1}, "from 0 to 0.005"),
        ({"stream_metrics_port": 70000}, "stream_metrics_port is a port"),
        ({"stream_development": "yes"}, "stream_development must be a bool"),
        ({"stream_relay_url": 5}, "stream_relay_url must be a str"),
        ({"stream_secret": ["a", 5]}, "string or a list of strings"),
        ({"stream_secret": ["a" * 16, "b" * 16, "c" * 16]}, "one secret, or two"),
        ({"stream_public_url": "relay.example:80"}, "must be http"),
        ({"CELERY_STREAM_SECRET": "x" * 16}, "elsewhere write stream_secret"),
        ({"stream_public_url": "relay.example"}, "must be http"),
        ({"stream_public_url": "https:relay.example"}, "must be http"),
        ({"stream_allowed_origins": ["*", 1]}, "list of strings"),
        *(
            (
                {"stream_allowed_origins": ["https://a.example", origin]},
                re.escape(f"origin '{origin}' of stream"),
            )
            for origin in (
                "https://a.example/",
                "a.example",
                "a.example:80",
                "https://a.example/chat",
                "https://A.example",
                "https://a.example:443",
                "http://a.example:80",
                "null",
                "https://*.a.example",
                "https://user@a.example",
                "https://a.example:08080",
                "https://a.example:0",
                "https://a.example:",
                "https://a.example?x",
                "https://bücher.example",
                "https://a b.example",
                "http://127.1",
                "http://[0:0:0:0:0:0:0:1]",
            )
        ),
    ],
)
def test_what_is_wrong_is_said(conf: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_settings(app_with(**conf))


@pytest.mark.parametrize(
    ("conf", "url"),
    [
        ({"broker": "redis://b/0"}, "redis://b/0"),
        ({"broker": "amqp://", "result_backend": "redis://b/1"}, "redis://b/1"),
        ({"broker": "redis://b/0", "stream_relay_url": "memory://"}, "memory://"),
        ({"broker": "amqp://"}, ""),
    ],
)
def test_the_relay_is_celerys_own_redis_by_default(conf: dict[str, Any], url: str) -> None:
    assert read_settings(app_with(**conf)).relay_url == url


def test_origins_that_browsers_have() -> None:
    origins = (
        "*", "https://a.example", "http://a.example:443", "http://[::1]:8000",
        "capacitor://localhost", "https://xn--bcher-kva.example", "https://a_b.example:8443",
        "http://10.0.0.1:3000", "http://localhost", "chrome-extension://abcdefghijklmnop",
    )  # fmt: skip
    assert read_settings(app_with(stream_allowed_origins=origins)).allowed_origins == origins


class TestSecrets:
    def test_the_configured_ones(self) -> None:
        assert StreamSettings(secret=("a" * 16,)).secrets() == ("a" * 16,)

    def test_none_is_fine_on_loopback(self) -> None:
        assert StreamSettings(public_url="http://localhost:8787").secrets()

    def test_none_is_refused_elsewhere(self) -> None:
        with pytest.raises(ConfigurationError, match="stream_secret is not set"):
            StreamSettings(public_url="https://relay.example").secrets()

    def test_none_is_fine_in_development(self) -> None:
        assert StreamSettings(public_url="http://10.0.0.1", development=True).secrets()

    def test_not_shown(self) -> None:
        assert "hush" not in repr(StreamSettings(secret=("hush-hush-hush-hush",)))
