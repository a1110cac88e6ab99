"""Relay servers to attack, on loopback."""

from __future__ import annotations

from itertools import count

import pytest

from tests.server import serving
from tests.server.conftest import MakeSite, Site, any_relay_url, clock, make_site
from tests.server.socketio import KEY

_stores = count()

__all__ = ["any_relay_url", "clock", "make_site"]


@pytest.fixture
async def site(make_site: MakeSite) -> Site:
    """As in production: a secret, API keys, and streams written over HTTP."""
    return await make_site(f"memory://attacked-{next(_stores)}", writing=True, api_keys=(KEY,))


@pytest.fixture
async def narrow_site(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> Site:
    """As `site`; the system takes little of what its connections write."""
    monkeypatch.setattr(serving, "listen", serving.listen_narrow)
    return await make_site(f"memory://attacked-{next(_stores)}", writing=True, api_keys=(KEY,))
