"""The relay server: streams over HTTP, from any point, to any number of readers."""

from .app import RelayApp, create_app, relay_app

__all__ = ["RelayApp", "create_app", "relay_app"]
