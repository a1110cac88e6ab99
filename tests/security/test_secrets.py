"""Secrets that anybody could guess are refused, with how to make one."""

from __future__ import annotations

import secrets
import uuid

import pytest
from celery import Celery

from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.settings import read_settings
from streamstraight_celery.settings.secrets import weakness_of
from streamstraight_celery.tokens import Tokens

WEAK = [
    "changemechangeme", "change-me-change-me", "please_change_this_secret", " " * 32, "\t" * 20,
    "hunter2", "   padded    ", "x" * 40, "abcabcabcabcabcabc", "secretsecretsecret",
    "${STREAM_SECRET}", "$STREAM_SECRET_OF_MINE", "prefix-${STREAM_SECRET:-}",
    "<your secret here!>",
    "{{ stream_secret }}", "%STREAM_SECRET_X%", "your-secret-key-here", "1234567890123456",
]  # fmt: skip


@pytest.mark.parametrize("secret", WEAK)
def test_a_weak_one_is_refused(secret: str) -> None:
    app = Celery(broker="memory://")
    app.conf.update(stream_api_keys=[secret], stream_relay_url="memory://")
    for use in (lambda: read_settings(app), lambda: Tokens([secret])):
        with pytest.raises(ConfigurationError, match="token_urlsafe") as refused:
            use()
        assert secret not in str(refused.value)


def test_random_ones_are_taken() -> None:
    for _ in range(500):
        for good in (secrets.token_urlsafe(32), secrets.token_hex(16), str(uuid.uuid4())):
            assert weakness_of(good) == ""
    assert weakness_of("correct horse battery staple") == ""
